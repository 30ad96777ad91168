/** Shows the section of the chosen method's settings in a draft's form. Without JavaScript, all sections show. */

const chosen = document.getElementById("id_method");
const sections = [...document.querySelectorAll(".ls-method")];

function show() {
  for (const section of sections) section.hidden = !section.classList.contains(`ls-method-${chosen.value}`);
}

if (chosen) {
  chosen.addEventListener("change", show);
  show();
}
