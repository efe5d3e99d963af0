// Asks who it is, once more: the page may have been left open.

import { type FormEvent, useEffect, useId, useRef } from "react";
import { proofEnds, useProofWanted } from "../api/proof";
import { useProof } from "../api/session";
import { useWords } from "../words";
import { CodeField, codeIn } from "./CodeField";

export function Proof() {
  return useProofWanted() && <Ask />;
}

function Ask() {
  const { words } = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const prove = useProof();
  const [title, password] = [useId(), useId()];
  useEffect(() => dialog.current?.showModal(), []);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const body = { password: String(form.get("password")), code: codeIn(form) };
    prove.mutate(body, { onSuccess: () => proofEnds(true) });
  };
  return (
    <dialog ref={dialog} className="card stack" onClose={() => proofEnds(false)} aria-labelledby={title}>
      <form className="stack" onSubmit={submit}>
        <h2 id={title}>{words.proof.title}</h2>
        <p className="quiet">{words.proof.about}</p>
        <label htmlFor={password}>{words.proof.password}</label>
        <input id={password} name="password" type="password" autoComplete="current-password" required />
        <CodeField of={prove} />
        <div className="buttons">
          <button type="submit" className="main" disabled={prove.isPending}>
            {words.proof.submit}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {words.common.cancel}
          </button>
        </div>
      </form>
    </dialog>
  );
}
