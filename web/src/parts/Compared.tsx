// Days without a policy against those with one: attempts a day, and how many fewer that is.

import type { FleetReport } from "../api/client";
import { useWords } from "../words";

type Span = FleetReport["with"];

interface Comparison {
  without: Span;
  having: Span;
  /** How that is said: of one host, or of several. */
  say: Record<"without" | "with", (days: string, attempts: string) => string>;
}

export function Compared({ without, having, say }: Comparison) {
  const { words, number, share } = useWords();
  const before = aDay(without);
  const after = aDay(having);
  return (
    <>
      {without.days > 0 && <p>{say.without(number(without.days), number(Math.round(before)))}</p>}
      {having.days > 0 && (
        <p>
          {say.with(number(having.days), number(Math.round(after)))}
          {before > 0 && (
            <strong>
              {", "}
              {after <= before
                ? words.evidence.fewer(share(before - after, before))
                : words.evidence.more(share(after - before, before))}
            </strong>
          )}
        </p>
      )}
    </>
  );
}

/** Attempts on one of some days. */
export function aDay({ days, attempts }: Span): number {
  return attempts / Math.max(1, days);
}
