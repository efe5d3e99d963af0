// Two lines over time. A canvas tells nothing to whoever can't see it: the table beside it does.

import { useEffect, useRef, useState } from "react";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Course } from "../series";

const HEIGHT = 240;
const DARK = "(prefers-color-scheme: dark)";

interface Drawn {
  course: Course;
  /** Times at which the policy changed, in seconds since 1970. */
  marks: readonly number[];
  label: string;
  unit: string;
  number: (value: number) => string;
  moment: (seconds: number) => string;
  /** Which step is pointed at. */
  point: (step: number | undefined) => void;
}

export default function Chart({ course, marks, label, unit, number, moment, point }: Drawn) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const now = useRef({ marks, number, moment, point });
  now.current = { marks, number, moment, point };
  const dark = useDark();

  // biome-ignore lint/correctness/useExhaustiveDependencies: colours are read anew when they change
  useEffect(() => {
    const at = place.current;
    if (!at) return;
    const ink = colours(at);
    const grid = { stroke: ink("--line"), width: 1 };
    const axis = { stroke: ink("--quiet"), grid, ticks: grid };
    const chart = new UPlot(
      {
        width: at.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
        axes: [
          { ...axis, values: (_, splits) => splits.map((at) => now.current.moment(at)), space: 90 },
          {
            ...axis,
            label: unit,
            size: 70,
            incrs: [1, 2, 5]
              .flatMap((one) => [...Array(12).keys()].map((power) => one * 10 ** power))
              .sort((a, b) => a - b),
            values: (_, splits) => splits.map((value) => now.current.number(value)),
          },
        ],
        series: [
          {},
          { stroke: ink("--dropped"), fill: ink("--dropped-page"), width: 2, points: { size: 5 } },
          { stroke: ink("--passed"), width: 2, dash: [6, 4], points: { size: 5 } },
        ],
        hooks: {
          drawClear: [(chart) => mark(chart, now.current.marks, ink("--accent"))],
          setCursor: [({ cursor }) => now.current.point(cursor.idx ?? undefined)],
        },
      },
      [[], [], []],
      at,
    );
    plot.current = chart;
    const resized = new ResizeObserver(() => chart.setSize({ width: at.clientWidth, height: HEIGHT }));
    resized.observe(at);
    return () => {
      resized.disconnect();
      chart.destroy();
    };
  }, [dark, unit]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new chart is drawn with what there is
  useEffect(() => {
    plot.current?.setData([course.times, course.stopped, course.passed]);
  }, [course, marks, dark, unit]);

  return <div ref={place} className="chart" role="img" aria-label={label} />;
}

function useDark(): boolean {
  const [dark, setDark] = useState(() => matchMedia(DARK).matches);
  useEffect(() => {
    const asked = matchMedia(DARK);
    const changed = () => setDark(asked.matches);
    asked.addEventListener("change", changed);
    return () => asked.removeEventListener("change", changed);
  }, []);
  return dark;
}

/** A colour of the page as a canvas takes it: one that is already light or dark. */
function colours(at: HTMLElement) {
  const probe = document.createElement("i");
  return (name: string) => {
    at.append(probe);
    probe.style.color = `var(${name})`;
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
}

function mark(chart: UPlot, marks: readonly number[], colour: string) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const time of marks) {
    const x = chart.valToPos(time, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
