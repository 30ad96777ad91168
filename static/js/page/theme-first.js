// Sets the chosen colour scheme before the first paint, so it is no module: modules run later.
try {
  const theme = localStorage.getItem("landslide.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's scheme it is.
}
