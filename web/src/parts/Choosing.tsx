// What hosts are to do: what this host does, a profile, or countries that are chosen here; asked, tried by some, or told to all.

import { useId, useState } from "react";
import { useProfiles } from "../api/choices";
import type { FleetSettings } from "../api/client";
import { type Many, type Target, useAnswers, useAsking, type useLeading, useRolling } from "../api/fleet";
import { useCountries, useStatus } from "../api/host";
import { useSession } from "../api/session";
import { choice, type Draft, inForce } from "../policy";
import { useWords } from "../words";
import { CountryPicker } from "./CountryPicker";
import { Modes } from "./Modes";
import { Failure, Loaded, Note } from "./Notice";

interface Chooser {
  /** For whom. */
  target: Target;
  name: string;
  /** Whether something is chosen there, which can be left to the level above. */
  own: boolean;
  leading: ReturnType<typeof useLeading>;
}

const NOBODY: ReadonlyMap<string, number> = new Map();

export function Choosing({ target, name, own, leading }: Chooser) {
  const { words } = useWords();
  const isOfOne = useSession().data?.tenant != null;
  const { data: status } = useStatus(undefined, !isOfOne);
  const { data } = useProfiles();
  const [from, setFrom] = useState("");
  const [picked, pick] = useState<Draft>({ mode: "allow", countries: new Set(), hosting: false });
  const of = useId();
  const profile = data?.profiles.find(({ id }) => String(id) === from);
  const here = status && choice(inForce(status));
  const chosen = { own: here, picked: choice(picked) }[from] ?? profile?.choice;
  const settings = chosen && chosen.countries.length > 0 ? chosen : undefined;
  const tell = (settings: FleetSettings) => leading.choose.mutate({ target, settings });
  return (
    <div className="stack">
      <div className="buttons">
        <label htmlFor={of}>{words.fleet.choose(name)}</label>
        <select id={of} value={from} onChange={(event) => setFrom(event.target.value)}>
          <option value="">{words.fleet.nothing}</option>
          {here && here.countries.length > 0 && <option value="own">{words.fleet.own}</option>}
          {data?.profiles.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
          <option value="picked">{words.fleet.pick}</option>
        </select>
        <button
          type="button"
          className="main"
          disabled={!settings || leading.choose.isPending}
          onClick={() => settings && tell(settings)}
        >
          {words.fleet.tell}
        </button>
        {own && (
          <button type="button" disabled={leading.choose.isPending} onClick={() => tell({})}>
            {words.fleet.asAbove}
          </button>
        )}
      </div>
      {from === "picked" && <Picker draft={picked} set={pick} />}
      {settings && !("host" in target) && <Carefully target={target} settings={settings} />}
    </div>
  );
}

function Picker({ draft, set }: { draft: Draft; set: (draft: Draft) => void }) {
  const countries = useCountries();
  return (
    <div className="stack">
      <Modes draft={draft} set={set} hosting />
      <Loaded query={countries}>
        {(countries) => <CountryPicker countries={countries} draft={draft} set={set} packets={NOBODY} />}
      </Loaded>
    </div>
  );
}

/** Asks hosts first, or has some try it before the others. */
function Carefully({ target, settings }: { target: Many; settings: FleetSettings }) {
  const { words } = useWords();
  const asking = useAsking();
  const rolling = useRolling();
  const answers = useAnswers(asking.data?.id);
  return (
    <>
      <div className="buttons">
        <button type="button" disabled={asking.isPending} onClick={() => asking.mutate({ target, settings })}>
          {words.fleet.ask}
        </button>
        <button
          type="button"
          disabled={rolling.begin.isPending}
          onClick={() => rolling.begin.mutate({ target, settings })}
        >
          {words.rollouts.begin}
        </button>
        <span className="quiet small">{words.rollouts.beginSays}</span>
      </div>
      <Failure error={asking.error ?? rolling.begin.error} />
      {answers.data && (
        <Note kind={answers.data.hosts.length > 0 ? "warn" : "good"}>
          <p>{words.fleet.answered(answers.data.answered, answers.data.asked, answers.data.hosts.length)}</p>
          <ul className="plain-list">
            {answers.data.hosts.map((host) => (
              <li key={host.id}>
                <strong>{host.name}</strong>:{" "}
                {[
                  ...host.would_cut.map((cut) => `${cut.what} (${cut.address}, ${cut.country})`),
                  ...(host.more > 0 ? [words.fleet.more(host.more)] : []),
                  ...(host.failed ? [host.failed] : []),
                ].join("; ") || host.risks.join(", ")}
              </li>
            ))}
          </ul>
        </Note>
      )}
    </>
  );
}
