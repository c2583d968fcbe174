"""Opinion studies: people rate the outputs of methods, blinded, in a browser.

    definition   what a study is: its conditions, scenes and blinded pictures, in `study.json`
    creation     makes one of folders of outputs
    plan         what a rater is shown, and in which order
    scale        Bradley-Terry strengths of comparisons, and what the next one would tell
    ratings      who answered what, in SQLite
    server       the page and its few requests
    opinions     mean opinion scores, intervals, agreement
    screening    careless raters
    report       all of it as a page and tables

Words are those of ITU-T P.910 and BT.500: a scene is a picture's content, a condition what was done to it.
"""
