/** Below a time in a form of the admin: what time that is where the organiser is, if it is another one there. */

const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

for (const date of document.querySelectorAll(".vDateField[data-zone]")) {
  const box = date.closest(".datetime");
  const time = box?.querySelector(".vTimeField");
  if (time) follow(box, date, time);
}

function follow(box, date, time) {
  const note = document.createElement("p");
  note.className = "ls-note";
  box.after(note);
  const show = () => (note.textContent = elsewhere(date.value, time.value, date.dataset.zone));
  // The calendar and the clock beside an input write into it without an event, and then focus it.
  for (const event of ["input", "change", "focusin"]) box.addEventListener(event, show);
  show();
}

/** The sentence; nothing where the clocks agree, or where there is no whole time. */
function elsewhere(date, time, zone) {
  const wall = Date.parse(`${date}T${time.padStart(5, "0")}Z`);
  if (Number.isNaN(wall)) return "";
  // The offset at the time itself, which near a change of the clocks isn't the one at the first guess.
  const moment = wall - offset(zone, wall - offset(zone, wall));
  if (offset(zone, moment) === offset(here, moment)) return "";
  const format = { dateStyle: "medium", timeStyle: "short", timeZone: here };
  const words = new Intl.DateTimeFormat(document.documentElement.lang, format).format(moment);
  return interpolate(gettext("Where you are (%(zone)s) that is %(time)s."), { zone: here, time: words }, true);
}

/** What a zone's clocks are ahead of UTC at a moment, in milliseconds. */
function offset(zone, moment) {
  const format = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" };
  const clock = { hour: "numeric", minute: "numeric", second: "numeric" };
  const parts = new Intl.DateTimeFormat("en-US", { ...format, ...clock }).formatToParts(moment);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  const shown = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
  return shown - (moment - (moment % 1000));
}
