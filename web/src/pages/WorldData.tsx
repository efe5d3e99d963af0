import { type Deed, useGeodata, useGeodataDeed } from "../api/geodata";
import { useMayChange } from "../api/session";
import { Failure, Loaded, Note } from "../parts/Notice";
import { useWords } from "../words";

/** Which data decides, whose it is, and what becomes of newer data. */
export function WorldData() {
  const { words, edition, moment, number } = useWords();
  const geodata = useGeodata();
  const deed = useGeodataDeed();
  const mayChange = useMayChange();
  const button = (of: Deed, main = false) => (
    <button
      type="button"
      className={main ? "main" : undefined}
      disabled={deed.isPending}
      onClick={() => deed.mutate(of)}
    >
      {words.geodata[of]}
    </button>
  );
  return (
    <section className="card stack">
      <h2>{words.geodata.title}</h2>
      <Loaded query={geodata}>
        {({ embedded, sources, previous, held, running, last }) => (
          <>
            {embedded && <p className="quiet">{words.geodata.embedded}</p>}
            <ul>
              {sources.map(({ name, date, credit, link, licence }) => (
                <li key={name}>
                  {name} {edition(date)}:{" "}
                  {link.startsWith("https://") ? (
                    <a href={link} rel="noreferrer">
                      {credit}
                    </a>
                  ) : (
                    credit
                  )}{" "}
                  ({licence})
                </li>
              ))}
            </ul>
            {held && (
              <Note kind="warn">
                <p>{words.geodata.held}</p>
                <ul>
                  {held.reasons.map((reason) => (
                    <li key={reason}>{reason}</li>
                  ))}
                </ul>
                {mayChange && button("approve", true)}
              </Note>
            )}
            <p className="quiet" role="status">
              {running
                ? running.source
                  ? words.geodata.fetching(running.source, number(Math.round(running.bytes / 1024)))
                  : words.geodata.making
                : last && words.geodata.outcome[last.outcome](moment(last.time))}
            </p>
            {last?.outcome === "failed" && last.why && <p className="doubt">{last.why}</p>}
            <Failure error={deed.error} />
            {mayChange && (
              <div className="buttons">
                {!running && button("update")}
                {previous && button("rollback")}
              </div>
            )}
          </>
        )}
      </Loaded>
    </section>
  );
}
