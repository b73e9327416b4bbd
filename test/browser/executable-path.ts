/** Chromium as Debian installs it, or where CHROMIUM says. */
export const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
