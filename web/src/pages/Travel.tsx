// What somebody abroad sees who opens the link that was sent to them: its token stands behind the #, as in the one-time link.

import { useState } from "react";
import { useTravel } from "../api/travel";
import { Failure, Note } from "../parts/Notice";
import { useWords } from "../words";

export function Travel() {
  const { words, moment } = useWords();
  const travel = useTravel();
  const [token] = useState(() => location.hash.slice(1));
  return (
    <main className="alone">
      <h1>{words.travel.title}</h1>
      <div className="card stack">
        <p>{words.travel.about}</p>
        <Failure error={travel.error} />
        {travel.data && (
          <Note>
            {words.travel.done(travel.data.target, moment(travel.data.until))} {words.travel.again}
          </Note>
        )}
        <button
          type="button"
          className="main"
          disabled={travel.isPending || travel.isSuccess}
          onClick={() => travel.mutate(token)}
        >
          {words.travel.letIn}
        </button>
      </div>
    </main>
  );
}
