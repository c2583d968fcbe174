document.documentElement.classList.add("script");
for (const pair of document.querySelectorAll(".compare")) {
  const line = document.createElement("input");
  Object.assign(line, { type: "range", min: 0, max: 100, step: 1, value: 50 });
  line.setAttribute("aria-label", `How much is shown as it was, of ${pair.querySelector(".first").alt}`);
  line.addEventListener("input", () => pair.style.setProperty("--cut", `${line.value}%`));
  pair.append(line);
}
document.getElementById("order")?.addEventListener("change", (event) => {
  const photos = document.getElementById("photos");
  const key = event.target.value === "changed" ? (one) => -one.dataset.change : (one) => Number(one.dataset.number);
  photos.append(...[...photos.children].sort((one, other) => key(one) - key(other)));
});
