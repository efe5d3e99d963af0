import { type FormEvent, useId } from "react";
import { useSignIn } from "../api/session";
import { CodeField, codeIn } from "../parts/CodeField";
import { useWords } from "../words";

export function SignIn() {
  const { words } = useWords();
  const signIn = useSignIn();
  const [name, password] = [useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (field: string) => String(form.get(field));
    signIn.mutate({ name: text("name"), password: text("password"), code: codeIn(form) });
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
        <CodeField of={signIn} />
        <button type="submit" className="main" disabled={signIn.isPending}>
          {words.signIn.submit}
        </button>
      </form>
    </main>
  );
}
