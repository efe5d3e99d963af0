// A field for a code, from when the portal asks for one, and what else was wrong with what was given.

import { useEffect, useId, useRef, useState } from "react";
import { isCodeAsked } from "../api/session";
import { useWords } from "../words";
import { Failure } from "./Notice";

interface Given {
  code?: string | null;
}

/** What stands in the field of a form, if it is there. */
export function codeIn(form: FormData): string | null {
  const code = form.get("code");
  return code === null ? null : String(code);
}

export function CodeField({
  of: { error, variables },
}: {
  of: { error: unknown; variables: Given | undefined };
}) {
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
  // All that is wrong may be that no code was given yet.
  const failed = !isCodeAsked(error) || variables?.code;
  return (
    <>
      {asked && (
        <>
          <label htmlFor={id}>{words.signIn.code}</label>
          <input
            ref={field}
            id={id}
            name="code"
            autoComplete="one-time-code"
            autoCapitalize="none"
            required
          />
        </>
      )}
      {failed && <Failure error={error} />}
    </>
  );
}
