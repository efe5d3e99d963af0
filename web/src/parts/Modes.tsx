// Whether the chosen countries are let in or kept out, and what becomes of hosting networks.

import { useId } from "react";
import { type Draft, turned } from "../policy";
import { useWords } from "../words";

interface Chosen {
  draft: Draft;
  set: (draft: Draft) => void;
  /** Whether hosting networks are asked for. */
  hosting: boolean;
}

export function Modes({ draft, set, hosting }: Chosen) {
  const { words } = useWords();
  const group = useId();
  return (
    <fieldset className="modes">
      <legend>{words.policy.mode}</legend>
      {(["allow", "block"] as const).map((mode) => (
        <label key={mode}>
          <input
            type="radio"
            name={group}
            checked={draft.mode === mode}
            onChange={() => set(turned(draft, mode))}
          />
          {words.policy[mode]}
        </label>
      ))}
      {hosting && (
        <label>
          <input
            type="checkbox"
            checked={draft.hosting}
            onChange={(event) => set({ ...draft, hosting: event.target.checked })}
          />
          <span>
            {words.policy.hosting} <small className="quiet">{words.policy.hostingSays}</small>
          </span>
        </label>
      )}
    </fieldset>
  );
}
