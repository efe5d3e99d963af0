// A long table of which only the rows in sight are drawn; all rows are as high as the first.

import { type ReactNode, useState, useSyncExternalStore } from "react";
import { flushSync } from "react-dom";

/** How high a row is, as the style has it: on a phone it takes several lines. */
const ROW = { wide: 44, narrow: 132 };
const HEIGHT = 528;
/** Rows drawn beyond either edge. */
const MORE = 6;

interface Table<T> {
  items: readonly T[];
  label: string;
  id: (item: T) => string;
  /** Somebody points at it, or does no more. */
  hold: (pointed: boolean) => void;
  children: (item: T) => ReactNode;
}

const narrow = matchMedia("(max-width: 720px)");
const watch = (changed: () => void) => {
  narrow.addEventListener("change", changed);
  return () => narrow.removeEventListener("change", changed);
};

export function Windowed<T>({ items, label, id, hold, children }: Table<T>) {
  const [scrolled, setScrolled] = useState(0);
  const row = useSyncExternalStore(watch, () => (narrow.matches ? ROW.narrow : ROW.wide));
  const first = Math.max(0, Math.floor(scrolled / row) - MORE);
  const last = Math.min(items.length, Math.ceil((scrolled + HEIGHT) / row) + MORE);
  return (
    <section
      className="window"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard
      tabIndex={0}
      aria-label={label}
      onPointerEnter={() => hold(true)}
      onPointerLeave={() => hold(false)}
      // At once, so that nothing is shown of which the rows are not drawn.
      onScroll={({ currentTarget }) => flushSync(() => setScrolled(currentTarget.scrollTop))}
    >
      <ol className="rows" style={{ height: items.length * row }}>
        {items.slice(first, last).map((item, at) => (
          <li
            key={id(item)}
            className="row"
            style={{ transform: `translateY(${(first + at) * row}px)` }}
            aria-posinset={first + at + 1}
            aria-setsize={items.length}
          >
            {children(item)}
          </li>
        ))}
      </ol>
    </section>
  );
}
