// Whoever was given a password by somebody else chooses another before anything else.

import { type FormEvent, useId } from "react";
import { useNewPassword, useSignOut } from "../api/session";
import { useNewPasswordField } from "../parts/NewPassword";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";

export function ChoosePassword() {
  const { words } = useWords();
  const change = useNewPassword();
  const signOut = useSignOut();
  const given = useId();
  const chosen = useNewPasswordField(words.settings.new);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const old = String(new FormData(event.currentTarget).get("old"));
    change.mutate({ old, new: chosen.password });
  };
  return (
    <main className="alone">
      <h1>{words.product}</h1>
      <form className="card stack" onSubmit={submit}>
        <h2>{words.choose.title}</h2>
        <p>{words.choose.about}</p>
        <label htmlFor={given}>{words.choose.given}</label>
        <input id={given} name="old" type="password" autoComplete="current-password" required />
        {chosen.field}
        <Failure error={change.error} />
        <div className="buttons">
          <button type="submit" className="main" disabled={!chosen.enough || change.isPending}>
            {words.choose.submit}
          </button>
          <button type="button" onClick={() => signOut.mutate()}>
            {words.nav.signOut}
          </button>
        </div>
      </form>
    </main>
  );
}
