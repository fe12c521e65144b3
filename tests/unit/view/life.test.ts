import { describe, expect, test } from "bun:test";
import { createLifeView, type LifeScreen, timeIn } from "../../../src/view/life.ts";
import { colorsOf } from "../../../src/view/lines.ts";

type Step = Parameters<ReturnType<typeof createLifeView>["show"]>[1][number];

const at = Date.UTC(2026, 4, 17, 9, 8, 7);

function step(to: Step["to"], words: Partial<Step> = {}): Step {
  return { to, at, detail: null, message: null, progress: null, ...words };
}

/** The end of going up some lines and erasing what is below. */
const erase = "A\u001b[0J";

/** What a terminal shows in the end: each line that is not written over. */
function screen(columns: number, live: boolean) {
  let lines: string[] = [];
  const view: LifeScreen = {
    columns,
    live,
    colors: colorsOf({}),
    write(text) {
      const erased = text.startsWith("\u001b[") ? text.indexOf(erase) : -1;
      if (erased > 0) lines = lines.slice(0, lines.length - Number(text.slice(2, erased)));
      const rest = erased > 0 ? text.slice(erased + erase.length) : text;
      lines.push(...rest.split("\n").filter((line) => line !== ""));
    },
  };
  return { view, lines: () => lines };
}

const jobs = [
  ["id-1", "one"],
  ["id-2", "second"],
] as const;
const untilStarted = [
  step("PENDING"),
  step("CLAIMED"),
  step("SUBMITTED"),
  step("STARTED", { progress: 0.5, message: "epoch 2" }),
];

describe("on a terminal", () => {
  test("each job has one line, with its course and how far it is", () => {
    const { view, lines } = screen(80, true);
    const life = createLifeView(view, jobs);
    life.show("id-1", untilStarted);
    life.show("id-2", [step("PENDING")]);
    expect(lines()).toEqual(["one     PENDING > CLAIMED > SUBMITTED > STARTED 50% epoch 2", "second  PENDING"]);
    life.show("id-1", [...untilStarted, step("COMPLETED")]);
    expect(lines()[0]).toBe("one     PENDING > CLAIMED > SUBMITTED > STARTED > COMPLETED");
  });

  test("a narrow one shows the present status alone, cut where it must be", () => {
    for (const [columns, expected] of [
      [40, "one     STARTED 50% epoch 2"],
      [20, "one     STARTED 50…"],
    ] as const) {
      const { view, lines } = screen(columns, true);
      createLifeView(view, jobs).show("id-1", untilStarted);
      expect(lines()[0]).toBe(expected);
    }
  });

  test("what is written aside stands above the jobs", () => {
    const { view, lines } = screen(80, true);
    const life = createLifeView(view, jobs);
    life.aside(() => view.write("first\n"));
    life.show("id-1", [step("PENDING")]);
    life.aside(() => view.write("a warning\n"));
    expect(lines()).toEqual(["first", "a warning", "one     PENDING", "second  "]);
  });

  test("a job's own words can not drive it", () => {
    const { view, lines } = screen(80, true);
    createLifeView(view, jobs).show("id-1", [step("STARTED", { progress: 1, message: "\u001b[2J\nx" })]);
    expect(lines()[0]).toBe("one     STARTED 100% \\x1b[2J\\nx");
  });
});

test("in a pipe each change is a line of its own, whole, and is told once", () => {
  const { view, lines } = screen(Number.POSITIVE_INFINITY, false);
  const life = createLifeView(view, jobs);
  const detail = `${"x".repeat(200)}\nmore`;
  life.show("id-2", [step("PENDING")]);
  life.show("id-2", [step("PENDING"), step("FAILED", { detail })]);
  life.show("id-2", [step("PENDING"), step("FAILED", { detail })]);
  const time = new Date(at).toTimeString().slice(0, 8);
  expect(lines()).toEqual([`${time}  second  PENDING`, `${time}  second  FAILED     ${"x".repeat(200)}`]);
});

test("the time in a status counts until the next one, and reports of progress do not end it", () => {
  const steps = [step("STARTED"), step("STARTED", { at: at + 400 }), step("COMPLETED", { at: at + 1_240 })];
  expect(["SUBMITTED", "STARTED", "COMPLETED"].map((status) => timeIn(status as Step["to"], steps))).toEqual([
    "-",
    "1.2 s",
    "-",
  ]);
});
