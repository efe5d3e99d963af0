// Choices that have a name, for whoever makes the same one again; and the file that takes them to another portal.

import { type FormEvent, useId, useRef, useState } from "react";
import { exported, useImport, useProfiles, useProfiling } from "../api/choices";
import type { Choice, PolicyFile, Profile, Status } from "../api/client";
import { useMayChange } from "../api/session";
import { change, choice, type Draft, drafted, same } from "../policy";
import { save } from "../save";
import { useWords } from "../words";
import { Failure, Loaded, Note } from "./Notice";

interface Chosen {
  draft: Draft;
  status: Status;
  set: (draft: Draft) => void;
  /** What the host's draft is now was read from a file. */
  imported: () => void;
}

export function Profiles({ draft, status, set, imported }: Chosen) {
  const { words } = useWords();
  const profiles = useProfiles();
  const profiling = useProfiling();
  const mayChange = useMayChange();
  // All of it, so that it means the same whatever is in force when it is chosen again.
  const { unknown, disputed } = change(draft, status);
  const present = choice({ ...draft, unknown, disputed });
  return (
    <details className="groups profiles">
      <summary>{words.profiles.title}</summary>
      <div className="stack">
        <p className="quiet small">{words.profiles.about}</p>
        <Loaded query={profiles}>
          {({ profiles }) => (
            <ul className="plain-list">
              {profiles.map((profile) => (
                <li key={profile.id}>
                  <Listed
                    profile={profile}
                    draft={draft}
                    present={present}
                    set={set}
                    profiling={mayChange ? profiling : undefined}
                  />
                </li>
              ))}
              {profiles.length === 0 && <li className="quiet">{words.profiles.empty}</li>}
            </ul>
          )}
        </Loaded>
        <Failure error={profiling.add.error ?? profiling.set.error ?? profiling.remove.error} />
        {mayChange && draft.countries.size > 0 && <New present={present} profiling={profiling} />}
        <Files imported={imported} mayChange={mayChange} />
      </div>
    </details>
  );
}

type Profiling = ReturnType<typeof useProfiling>;

interface Line {
  profile: Profile;
  draft: Draft;
  present: Choice;
  set: (draft: Draft) => void;
  profiling: Profiling | undefined;
}

function Listed({ profile, draft, present, set, profiling }: Line) {
  const { words, moment } = useWords();
  const [renamed, rename] = useState(false);
  const { id, name } = profile;
  const mine = drafted(profile.choice);
  if (renamed && profiling)
    return (
      <Named
        name={name}
        submit={words.profiles.rename}
        done={(name) => {
          profiling.set.mutate({ id, name, choice: profile.choice });
          rename(false);
        }}
        close={() => rename(false)}
      />
    );
  return (
    <span className="buttons">
      <button type="button" aria-pressed={same(mine, draft)} onClick={() => set(mine)}>
        {name}
      </button>
      <span className="quiet small">
        {words.history[profile.choice.mode](profile.choice.countries.length)} ·{" "}
        {words.profiles.by(profile.operator, moment(profile.time))}
      </span>
      {profiling && (
        <>
          <button
            type="button"
            className="plain"
            aria-label={words.profiles.renameOne(name)}
            onClick={() => rename(true)}
          >
            {words.profiles.rename}
          </button>
          {!same(mine, draft) && draft.countries.size > 0 && (
            <button
              type="button"
              className="plain"
              aria-label={words.profiles.replaceOne(name)}
              onClick={() => profiling.set.mutate({ id, name, choice: present })}
            >
              {words.profiles.replace}
            </button>
          )}
          <button
            type="button"
            className="plain"
            aria-label={words.profiles.removeOne(name)}
            onClick={() => profiling.remove.mutate(id)}
          >
            {words.common.remove}
          </button>
        </>
      )}
    </span>
  );
}

function New({ present, profiling }: { present: Choice; profiling: Profiling }) {
  const { words } = useWords();
  const [again, setAgain] = useState(0);
  const add = (name: string) =>
    profiling.add.mutate({ name, choice: present }, { onSuccess: () => setAgain((times) => times + 1) });
  return <Named key={again} name="" submit={words.profiles.save} done={add} />;
}

interface Naming {
  name: string;
  submit: string;
  done: (name: string) => void;
  close?: () => void;
}

function Named({ name, submit, done, close }: Naming) {
  const { words } = useWords();
  const id = useId();
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    done(String(new FormData(event.currentTarget).get("name")));
  };
  return (
    <form className="adding" onSubmit={send}>
      <div>
        <label htmlFor={id}>{words.profiles.name}</label>
        <input id={id} name="name" defaultValue={name} required maxLength={64} />
      </div>
      <button type="submit">{submit}</button>
      {close && (
        <button type="button" onClick={close}>
          {words.common.cancel}
        </button>
      )}
    </form>
  );
}

function Files({ imported, mayChange }: { imported: () => void; mayChange: boolean }) {
  const { words } = useWords();
  const file = useRef<HTMLInputElement>(null);
  const take = useImport();
  const [error, setError] = useState<unknown>();
  const give = async () => {
    try {
      const text = JSON.stringify(await exported(), null, 2);
      save("geofilter-policy.json", "application/json", `${text}\n`);
    } catch (error) {
      setError(error);
    }
  };
  const read = async (chosen: File | undefined) => {
    setError(undefined);
    if (!chosen) return;
    try {
      const body = JSON.parse(await chosen.text()) as PolicyFile;
      take.mutate(body, { onSuccess: ({ draft }) => draft && imported() });
    } catch {
      setError(new Error(words.profiles.unreadable(chosen.name)));
    }
  };
  return (
    <>
      <span className="buttons">
        <button type="button" onClick={give}>
          {words.profiles.export}
        </button>
        {mayChange && (
          <button type="button" onClick={() => file.current?.click()}>
            {words.profiles.import}
          </button>
        )}
      </span>
      <input
        ref={file}
        type="file"
        accept="application/json,.json"
        hidden
        aria-label={words.profiles.import}
        onChange={(event) => {
          read(event.target.files?.[0]);
          event.target.value = "";
        }}
      />
      <Failure error={error ?? take.error} />
      {take.data && (
        <Note>
          {take.data.draft && words.profiles.imported}{" "}
          {take.data.added.length + take.data.replaced.length > 0 &&
            words.profiles.taken([...take.data.added, ...take.data.replaced].join(", "))}
        </Note>
      )}
    </>
  );
}
