/** When a failure that goes on is worth another line: the first time, the tenth, the hundredth. */
export function isNews(failures: number): boolean {
  return failures <= 1 || Number.isInteger(Math.log10(failures));
}
