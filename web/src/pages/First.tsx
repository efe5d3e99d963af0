// The one-time link leads here: its token stands behind the #, where no server and no log sees it.

import { type FormEvent, useId, useState } from "react";
import { useLocation } from "wouter";
import { useFirst } from "../api/session";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";
import { Enrolment } from "./SecondFactor";

const SHORTEST = 12;

export function First() {
  const { words } = useWords();
  const { begin, enter } = useFirst();
  const [, go] = useLocation();
  const [token] = useState(() => location.hash.slice(1));
  const [password, setPassword] = useState("");
  const [nameId, passwordId, hintId] = [useId(), useId(), useId()];
  const missing = SHORTEST - [...password].length;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name"));
    begin.mutate({ token, name, password });
  };
  if (begin.data) {
    const done = () => {
      go("/", { replace: true });
      enter();
    };
    return (
      <main className="alone">
        <h1>{words.first.title}</h1>
        <section className="card stack">
          <h2>{words.factor.title}</h2>
          <Enrolment done={done} later={done} />
        </section>
      </main>
    );
  }
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
        <Failure error={begin.error} />
        <button type="submit" className="main" disabled={missing > 0 || begin.isPending}>
          {words.first.submit}
        </button>
      </form>
    </main>
  );
}
