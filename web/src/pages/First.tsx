// The one-time link leads here: its token stands behind the #, where no server and no log sees it.

import { type FormEvent, useId, useState } from "react";
import { useLocation } from "wouter";
import { useFirst } from "../api/session";
import { useNewPasswordField } from "../parts/NewPassword";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";
import { Enrolment } from "./SecondFactor";

export function First() {
  const { words } = useWords();
  const { begin, enter } = useFirst();
  const [, go] = useLocation();
  const [token] = useState(() => location.hash.slice(1));
  const nameId = useId();
  const { password, field, enough } = useNewPasswordField(words.first.password);
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
        {field}
        <Failure error={begin.error} />
        <button type="submit" className="main" disabled={!enough || begin.isPending}>
          {words.first.submit}
        </button>
      </form>
    </main>
  );
}
