// What went wrong, where it did.

import type { ReactNode } from "react";
import { Refused } from "../api/client";
import { useWords } from "../words";

export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  const { words, number } = useWords();
  if (!error) return null;
  const wait = error instanceof Refused ? error.problem.retry_after : undefined;
  const detail = error instanceof Error ? error.message : String(error);
  return (
    <div className="notice bad" role="alert">
      <p>
        <strong>{words.common.failed}.</strong> {wait ? words.signIn.wait(number(wait)) : detail}
      </p>
      {again && (
        <button type="button" onClick={again}>
          {words.common.again}
        </button>
      )}
    </div>
  );
}

export function Note({ kind = "good", children }: { kind?: "good" | "warn"; children: ReactNode }) {
  return (
    <div className={`notice ${kind}`} role="status">
      {children}
    </div>
  );
}

/** What the agent says that an operator should know. */
export function Warnings({ of }: { of: readonly string[] }) {
  return of.map((warning) => (
    <Note kind="warn" key={warning}>
      {warning}
    </Note>
  ));
}

/** What is asked for, or that it is on its way, or why it does not come. */
export function Loaded<T>({
  query,
  children,
}: {
  query: { data: T | undefined; error: unknown; refetch: () => unknown };
  children: (data: T) => ReactNode;
}) {
  const { words } = useWords();
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <Failure error={query.error} again={() => query.refetch()} />;
  return <p className="quiet">{words.common.loading}</p>;
}
