// Not a module: it has to run before the first paint.
try {
  const theme = localStorage.getItem("landslide.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's scheme it is.
}
