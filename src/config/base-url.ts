/** The server's address: plain http is for this host alone, where nobody can listen in. */

/** What is wrong with it as a base URL. The text itself is not repeated: it may hold a password. */
export function baseUrlFault(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return "must be a URL with https (or http to this host)";
  if (url.username || url.password) return "must not hold a user name or password";
  if (/[?#]/.test(text)) return "must not hold a query or a fragment (? or #)";
  return undefined;
}

export function isPlainHttpElsewhere(text: string): boolean {
  const url = URL.parse(text);
  return url?.protocol === "http:" && !isLoopback(url.hostname);
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
