/**
 * `${VAR}` and `${VAR:-default}` in the texts of a configuration file; `$${` stands for `${` itself. Every other dollar
 * sign is left alone, and what a variable holds is never looked at again.
 */

export type Environment = Readonly<Record<string, string | undefined>>;

interface Interpolated {
  readonly text: string;
  readonly faults: readonly { readonly message: string; readonly hint: string }[];
}

const reference = /\$\$\{|\$\{([^}]*)(\}?)/g;
const body = /^(?<name>[A-Za-z_]\w*)(:-(?<fallback>.*))?$/s;
const literalHint = "for a literal ${ write $${";

export function interpolate(text: string, env: Environment): Interpolated {
  const faults: { message: string; hint: string }[] = [];
  const result = text.replace(reference, (whole: string, inside: string | undefined, end: string) => {
    if (inside === undefined) return "${";
    const { name, fallback } = (end && body.exec(inside)?.groups) || {};
    if (name === undefined) {
      faults.push({ message: `${whole} is neither \${VAR} nor \${VAR:-default}`, hint: literalHint });
      return whole;
    }
    const value = env[name];
    // As in a shell: the default also stands in for an empty variable.
    if (fallback !== undefined) return value || fallback;
    if (value !== undefined) return value;
    faults.push({
      message: `the environment variable ${name} is not set`,
      hint: `set it, or write \${${name}:-default}; ${literalHint}`,
    });
    return whole;
  });
  return { text: result, faults };
}
