import { type FormEvent, useId } from "react";
import { useSignIn } from "../api/session";
import { Failure } from "../parts/Notice";
import { useWords } from "../words";

export function SignIn() {
  const { words } = useWords();
  const signIn = useSignIn();
  const [name, password] = [useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    signIn.mutate({ name: String(form.get("name")), password: String(form.get("password")) });
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
        <Failure error={signIn.error} />
        <button type="submit" className="main" disabled={signIn.isPending}>
          {words.signIn.submit}
        </button>
      </form>
    </main>
  );
}
