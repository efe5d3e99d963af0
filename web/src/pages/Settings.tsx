import { type FormEvent, useId, useState } from "react";
import { useAudit, useEndSession, useNewPassword, useSession, useSessions } from "../api/session";
import { useNewPasswordField } from "../parts/NewPassword";
import { Failure, Loaded, Note } from "../parts/Notice";
import { dress, type Theme, theme, themes } from "../theme";
import { type Language, languages, useWords } from "../words";
import { Notices } from "./Notices";
import { Operators, Tokens } from "./People";
import { SecondFactor } from "./SecondFactor";
import { WorldData } from "./WorldData";

export function Settings() {
  const { words } = useWords();
  const session = useSession();
  return (
    <div className="stack">
      <h1>{words.settings.title}</h1>
      <Appearance />
      {session.data && !session.data.tenant && <WorldData />}
      <section className="card stack">
        <h2>{words.settings.you}</h2>
        <p>
          {session.data?.operator}.{" "}
          {words.settings.role(words.settings.roles[session.data?.role ?? "viewer"])}
        </p>
      </section>
      <Sessions />
      <NewPassword />
      <SecondFactor />
      {session.data?.role === "admin" && (
        <>
          <Operators />
          <Tokens />
          <Notices />
          <Audit />
        </>
      )}
    </div>
  );
}

function Appearance() {
  const { words, language, speak } = useWords();
  const [worn, wear] = useState(theme);
  const [languageId, themeId] = [useId(), useId()];
  const choose = (theme: Theme) => {
    dress(theme);
    wear(theme);
  };
  return (
    <section className="card filters">
      <label htmlFor={languageId}>{words.settings.language}</label>
      <select id={languageId} value={language} onChange={(event) => speak(event.target.value as Language)}>
        {Object.entries(languages).map(([name, words]) => (
          <option key={name} value={name} lang={name}>
            {words.language}
          </option>
        ))}
      </select>
      <label htmlFor={themeId}>{words.settings.theme}</label>
      <select id={themeId} value={worn} onChange={(event) => choose(event.target.value as Theme)}>
        {themes.map((name) => (
          <option key={name} value={name}>
            {words.settings.themes[name]}
          </option>
        ))}
      </select>
    </section>
  );
}

function Sessions() {
  const { words, moment } = useWords();
  const sessions = useSessions();
  const end = useEndSession();
  return (
    <section className="card stack">
      <h2>{words.settings.sessions}</h2>
      <Failure error={end.error} />
      <Loaded query={sessions}>
        {({ sessions }) => (
          <ul className="plain-list">
            {sessions.map((session) => (
              <li key={session.id}>
                {moment(session.began)} · {session.source} ·{" "}
                <span className="quiet">{words.settings.used(moment(session.used))}</span>{" "}
                {session.this ? (
                  <em>{words.settings.this}</em>
                ) : (
                  <button type="button" onClick={() => end.mutate(session.id)}>
                    {words.settings.end}
                  </button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </section>
  );
}

function NewPassword() {
  const { words } = useWords();
  const change = useNewPassword();
  const old = useId();
  const chosen = useNewPasswordField(words.settings.new);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const body = { old: String(new FormData(form).get("old")), new: chosen.password };
    const done = () => {
      form.reset();
      chosen.clear();
    };
    change.mutate(body, { onSuccess: done });
  };
  return (
    <form className="card stack" onSubmit={submit}>
      <h2>{words.settings.password}</h2>
      <label htmlFor={old}>{words.settings.old}</label>
      <input id={old} name="old" type="password" autoComplete="current-password" required />
      {chosen.field}
      <Failure error={change.error} />
      {change.isSuccess && <Note>{words.settings.changed}</Note>}
      <button type="submit" disabled={!chosen.enough || change.isPending}>
        {words.settings.change}
      </button>
    </form>
  );
}

function Audit() {
  const { words, moment } = useWords();
  const audit = useAudit();
  return (
    <section className="card stack">
      <h2>{words.settings.audit}</h2>
      <Loaded query={audit}>
        {({ entries }) => (
          <div className="scrolls">
            <table>
              <thead>
                <tr>
                  <th scope="col">{words.live.time}</th>
                  <th scope="col">{words.settings.operator}</th>
                  <th scope="col">{words.settings.action}</th>
                  <th scope="col">{words.settings.source}</th>
                </tr>
              </thead>
              <tbody>
                {entries.map((entry) => (
                  <tr key={entry.id}>
                    <td>{moment(entry.time)}</td>
                    <td>{entry.operator}</td>
                    <td>{entry.action}</td>
                    <td className="address">{entry.source}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
    </section>
  );
}
