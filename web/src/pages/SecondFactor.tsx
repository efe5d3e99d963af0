// The second factor: codes of an authenticator app, asked for besides the password.

import { type FormEvent, useId } from "react";
import { useRecoveryCodes, useSession, useTotp } from "../api/session";
import { Copied } from "../parts/Copied";
import { Failure, Note } from "../parts/Notice";
import { save } from "../save";
import { useWords } from "../words";

/** Recovery codes below which new ones are advised. */
const FEW = 4;

export function SecondFactor() {
  const { words } = useWords();
  const session = useSession().data;
  const recovery = useRecoveryCodes();
  const { end, refresh } = useTotp();
  if (!session) return null;
  return (
    <section className="card stack">
      <h2>{words.factor.title}</h2>
      {!session.totp ? (
        <Enrolment done={refresh} />
      ) : (
        <>
          <p>{words.factor.on}</p>
          {session.recovery_codes < FEW ? (
            <Note kind="warn">{words.factor.left(session.recovery_codes)}</Note>
          ) : (
            <p className="quiet">{words.factor.left(session.recovery_codes)}</p>
          )}
          <Failure error={end.error ?? recovery.error} />
          {recovery.data && <Recovery codes={recovery.data.codes} />}
          <div className="buttons">
            <button type="button" onClick={() => recovery.mutate()} disabled={recovery.isPending}>
              {words.factor.renew}
            </button>
            <button type="button" onClick={() => end.mutate()} disabled={end.isPending}>
              {words.factor.end}
            </button>
          </div>
        </>
      )}
    </section>
  );
}

/** From the secret over the first code to the recovery codes; `later` is for who does not want one now. */
export function Enrolment({ done, later }: { done: () => void; later?: () => void }) {
  const { words } = useWords();
  const { offer, begin } = useTotp();
  const id = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    begin.mutate(String(new FormData(event.currentTarget).get("code")));
  };
  const notNow = later && (
    <button type="button" onClick={later}>
      {words.factor.later}
    </button>
  );
  if (begin.data)
    return (
      <>
        <Note>{words.factor.begun}</Note>
        <Recovery codes={begin.data.codes} />
        <button type="button" className="main" onClick={done}>
          {words.factor.saved}
        </button>
      </>
    );
  if (!offer.data)
    return (
      <>
        <p>{words.factor.about}</p>
        <Failure error={offer.error} />
        <div className="buttons">
          <button
            type="button"
            className={later && "main"}
            onClick={() => offer.mutate()}
            disabled={offer.isPending}
          >
            {words.factor.begin}
          </button>
          {notNow}
        </div>
      </>
    );
  const { secret, qr } = offer.data;
  return (
    <form className="stack" onSubmit={submit}>
      <p>{words.factor.scan}</p>
      <img className="qr" alt={words.factor.qr} src={`data:image/svg+xml,${encodeURIComponent(qr)}`} />
      <p>
        {words.factor.type} <Copied text={secret} />
      </p>
      <label htmlFor={id}>{words.factor.code}</label>
      <input id={id} name="code" inputMode="numeric" autoComplete="one-time-code" required />
      <Failure error={begin.error} />
      <div className="buttons">
        <button type="submit" className="main" disabled={begin.isPending}>
          {words.factor.check}
        </button>
        {notNow}
      </div>
    </form>
  );
}

function Recovery({ codes }: { codes: readonly string[] }) {
  const { words } = useWords();
  return (
    <Note kind="warn">
      <p>{words.factor.recovery}</p>
      <ul className="plain-list recovery">
        {codes.map((code) => (
          <li key={code} className="address">
            {code}
          </li>
        ))}
      </ul>
      <button
        type="button"
        onClick={() => save("geofilter-recovery-codes.txt", "text/plain", `${codes.join("\n")}\n`)}
      >
        {words.factor.save}
      </button>
    </Note>
  );
}
