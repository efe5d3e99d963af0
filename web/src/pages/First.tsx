// The one-time link leads here: its token stands behind the #, where no server and no log sees it.

import { type FormEvent, useId, useState } from "react";
import { useLocation } from "wouter";
import { useFirst } from "../api/session";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";

const SHORTEST = 12;

export function First() {
  const { words } = useWords();
  const first = useFirst();
  const [, go] = useLocation();
  const [token] = useState(() => location.hash.slice(1));
  const [password, setPassword] = useState("");
  const [nameId, passwordId, hintId] = [useId(), useId(), useId()];
  const missing = SHORTEST - [...password].length;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name"));
    first.mutate({ token, name, password }, { onSuccess: () => go("/", { replace: true }) });
  };
  return (
    <main className="alone">
      <h1>{words.first.title}</h1>
      <form className="card stack" onSubmit={submit}>
        <p>{words.first.about}</p>
        <label htmlFor={nameId}>{words.signIn.name}</label>
        <input id={nameId} name="name" autoComplete="username" required maxLength={64} />
        <label htmlFor={passwordId}>{words.first.password}</label>
        <input
          id={passwordId}
          type="password"
          autoComplete="new-password"
          value={password}
          onChange={(event) => setPassword(event.target.value)}
          aria-describedby={hintId}
          required
        />
        <p id={hintId} className="quiet">
          {missing > 0 ? (password ? words.first.short(missing) : words.first.hint) : words.first.enough}
        </p>
        <Failure error={first.error} />
        <button type="submit" className="main" disabled={missing > 0 || first.isPending}>
          {words.first.submit}
        </button>
      </form>
    </main>
  );
}
