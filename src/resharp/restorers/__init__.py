"""Image -> image, whatever is behind it: restorers, and the one engine that takes many files through one."""
