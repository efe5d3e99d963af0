// What a change would endanger: each is ticked, or the change is not made.

import type { Problem, Risk } from "../api/client";
import { useWords } from "../words";

interface Asked {
  problem: Problem;
  accepted: readonly Risk[];
  accept: (risks: Risk[]) => void;
}

export function Risks({ problem, accepted, accept }: Asked) {
  const { words } = useWords();
  const tick = (risk: Risk, ticked: boolean) =>
    accept(ticked ? [...accepted, risk] : accepted.filter((one) => one !== risk));
  return (
    <fieldset className="would-drop">
      <legend>{words.preview.risky}</legend>
      <p>{problem.detail}</p>
      {(problem.risks ?? []).map((risk) => (
        <label key={risk}>
          <input
            type="checkbox"
            checked={accepted.includes(risk)}
            onChange={(event) => tick(risk, event.target.checked)}
          />
          {words.risks[risk]}
        </label>
      ))}
    </fieldset>
  );
}
