// A long table of which only the rows in sight are drawn; all rows are as high as the first.

import { type ReactNode, useState } from "react";

const ROW = 44;
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

export function Windowed<T>({ items, label, id, hold, children }: Table<T>) {
  const [scrolled, setScrolled] = useState(0);
  const first = Math.max(0, Math.floor(scrolled / ROW) - MORE);
  const last = Math.min(items.length, Math.ceil((scrolled + HEIGHT) / ROW) + MORE);
  return (
    <section
      className="window"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard
      tabIndex={0}
      aria-label={label}
      onPointerEnter={() => hold(true)}
      onPointerLeave={() => hold(false)}
      onScroll={(event) => setScrolled(event.currentTarget.scrollTop)}
    >
      <ol className="rows" style={{ height: items.length * ROW }}>
        {items.slice(first, last).map((item, at) => (
          <li
            key={id(item)}
            className="row"
            style={{ transform: `translateY(${(first + at) * ROW}px)` }}
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
