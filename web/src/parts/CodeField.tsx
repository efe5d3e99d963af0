// A field for a code, from when the portal asks for one.

import { useEffect, useId, useRef, useState } from "react";
import { isCodeAsked } from "../api/session";
import { useWords } from "../words";

export function CodeField({ error }: { error: unknown }) {
  const { words } = useWords();
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    if (isCodeAsked(error)) setAsked(true);
  }, [error]);
  useEffect(() => {
    if (asked) field.current?.focus();
  }, [asked]);
  if (!asked) return null;
  return (
    <>
      <label htmlFor={id}>{words.signIn.code}</label>
      <input ref={field} id={id} name="code" autoComplete="one-time-code" autoCapitalize="none" required />
    </>
  );
}
