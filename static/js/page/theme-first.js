// Sets the chosen colour scheme before the first paint. Not a module, because modules run later.
try {
  const theme = localStorage.getItem("landslide.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: use the system's scheme.
}
