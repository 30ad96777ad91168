/** Shows each time of a form in the organiser's own time zone too, if that differs from the server's. */

const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

for (const date of document.querySelectorAll(".vDateField[data-zone]")) {
  const box = date.closest(".datetime");
  const time = box?.querySelector(".vTimeField");
  if (time) addNote(box, date, time);
}

function addNote(box, date, time) {
  const note = document.createElement("p");
  note.className = "ls-note";
  box.after(note);
  const show = () => (note.textContent = localTimeText(date.value, time.value, date.dataset.zone));
  // Django's calendar and clock widgets change an input without an event, then focus it.
  for (const event of ["input", "change", "focusin"]) box.addEventListener(event, show);
  show();
}

/** Return the sentence; empty if the offsets agree or the time is incomplete. */
function localTimeText(date, time, zone) {
  const wall = Date.parse(`${date}T${time.padStart(5, "0")}Z`);
  if (Number.isNaN(wall)) return "";
  // Near a change to or from summer time, the first guess may have the wrong offset.
  const moment = wall - offset(zone, wall - offset(zone, wall));
  if (offset(zone, moment) === offset(ownZone, moment)) return "";
  const format = { dateStyle: "medium", timeStyle: "short", timeZone: ownZone };
  const words = new Intl.DateTimeFormat(document.documentElement.lang, format).format(moment);
  return interpolate(gettext("Where you are (%(zone)s) that is %(time)s."), { zone: ownZone, time: words }, true);
}

/** Return a zone's offset from UTC at a moment, in milliseconds. */
function offset(zone, moment) {
  const format = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" };
  const clock = { hour: "numeric", minute: "numeric", second: "numeric" };
  const parts = new Intl.DateTimeFormat("en-US", { ...format, ...clock }).formatToParts(moment);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  const shown = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
  return shown - (moment - (moment % 1000));
}
