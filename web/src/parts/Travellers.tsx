// Links that let colleagues abroad in, for some hours.

import { type FormEvent, useId } from "react";
import { useTraveller, useTravellers } from "../api/travel";
import { useWords } from "../words";
import { Copied } from "./Copied";
import { Failure, Loaded, Note } from "./Notice";

/** Hours that a link grants, unless said otherwise. */
const HOURS = 8;

export function Travellers() {
  const { words, moment, number } = useWords();
  const travellers = useTravellers();
  const { make, end } = useTraveller();
  return (
    <section className="stack">
      <h2>{words.travel.links}</h2>
      <p className="quiet">{words.travel.linksSay}</p>
      <New make={make} />
      {make.data && (
        <Note>
          <p>{words.travel.made(make.variables.name)}</p>
          <Copied text={`${location.origin}/travel#${make.data.token}`} />
        </Note>
      )}
      <Failure error={end.error} />
      <Loaded query={travellers}>
        {({ travellers }) => (
          <ul className="plain-list">
            {travellers.map((link) => (
              <li key={link.id}>
                {link.name} · {words.travel.hours(number(link.seconds / 3600))} ·{" "}
                {link.target ? <span className="address">{link.target}</span> : words.travel.unopened} ·{" "}
                <span className="quiet">{words.travel.ends(moment(link.ends))}</span>{" "}
                <button type="button" onClick={() => end.mutate(link.id)}>
                  {words.travel.end}
                </button>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </section>
  );
}

function New({ make }: { make: ReturnType<typeof useTraveller>["make"] }) {
  const { words } = useWords();
  const [name, hours] = [useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const body = { name: String(data.get("name")).trim(), hours: Number(data.get("hours")) };
    make.mutate(body, { onSuccess: () => form.reset() });
  };
  return (
    <form className="card adding" onSubmit={submit}>
      <div>
        <label htmlFor={name}>{words.travel.name}</label>
        <input id={name} name="name" required maxLength={64} />
      </div>
      <div>
        <label htmlFor={hours}>{words.travel.hoursLabel}</label>
        <input id={hours} name="hours" type="number" min={1} max={336} defaultValue={HOURS} required />
      </div>
      <button type="submit" className="main" disabled={make.isPending}>
        {words.travel.make}
      </button>
      <Failure error={make.error} />
    </form>
  );
}
