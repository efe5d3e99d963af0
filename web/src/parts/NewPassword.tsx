import { useId, useState } from "react";
import { useWords } from "../words";

const SHORTEST = 12;

/** A password that is chosen, and what it still lacks. The portal judges besides whether it is guessed first. */
export function useNewPasswordField(label: string) {
  const { words } = useWords();
  const [password, set] = useState("");
  const [id, hint] = [useId(), useId()];
  const missing = SHORTEST - [...password].length;
  const field = (
    <>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="password"
        autoComplete="new-password"
        value={password}
        onChange={(event) => set(event.target.value)}
        aria-describedby={hint}
        required
      />
      <p id={hint} className="quiet">
        {missing > 0 ? (password ? words.first.short(missing) : words.first.hint) : words.first.enough}
      </p>
    </>
  );
  return { password, field, enough: missing <= 0, clear: () => set("") };
}
