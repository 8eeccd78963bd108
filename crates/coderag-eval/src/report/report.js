(function () {
  "use strict";
  const form = document.getElementById("filters");
  if (!form) return;
  const rows = Array.from(document.querySelectorAll("#question-table tbody tr"));
  const texts = rows.map(row => row.textContent.toLowerCase());
  const choices = Array.from(form.querySelectorAll("select"));
  const text = form.elements.namedItem("text");
  const shown = document.getElementById("shown");
  function filter() {
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, index) => {
      const chosen = choices.every(it => ["", row.dataset[it.name]].includes(it.value));
      row.hidden = [chosen, texts[index].includes(wanted)].includes(false);
      if (!row.hidden) count += 1;
    });
    shown.textContent = count.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " shown";
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.hidden = false;
  filter();
})();
