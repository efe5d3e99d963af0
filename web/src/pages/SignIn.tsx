import { type FormEvent, useId } from "react";
import { asksForCode, useSignIn } from "../api/session";
import { CodeField } from "../parts/CodeField";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";

export function SignIn() {
  const { words } = useWords();
  const signIn = useSignIn();
  const [name, password] = [useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (field: string) => String(form.get(field));
    const code = form.has("code") ? text("code") : null;
    signIn.mutate({ name: text("name"), password: text("password"), code });
  };
  return (
    <main className="alone">
      <h1>{words.product}</h1>
      <form className="card stack" onSubmit={submit}>
        <h2>{words.signIn.title}</h2>
        <label htmlFor={name}>{words.signIn.name}</label>
        <input id={name} name="name" autoComplete="username" required />
        <label htmlFor={password}>{words.signIn.password}</label>
        <input id={password} name="password" type="password" autoComplete="current-password" required />
        <CodeField error={signIn.error} />
        {!asksForCode(signIn.error, signIn.variables) && <Failure error={signIn.error} />}
        <button type="submit" className="main" disabled={signIn.isPending}>
          {words.signIn.submit}
        </button>
      </form>
    </main>
  );
}
