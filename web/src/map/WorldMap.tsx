// The same choice on a map: what is chosen is filled, and a dot is as large as what was seen from there. Whatever can be done
// here can be done in the list, which has the countries that are too small for a map.

import type { Draft } from "../policy";
import { useWords } from "../words";
import world from "./world.json";

const shapes = world.shapes as [code: string, path: string, point: [number, number]][];
/** The radius of the largest dot. */
const LARGEST = 14;

interface Chosen {
  draft: Draft;
  toggle: (code: string) => void;
  packets: ReadonlyMap<string, number>;
}

export default function WorldMap({ draft, toggle, packets }: Chosen) {
  const { country } = useWords();
  const most = Math.max(1, ...packets.values());
  return (
    <svg className="map" viewBox={`0 0 ${world.width} ${world.height}`} aria-hidden="true">
      {shapes.map(([code, path]) => (
        // biome-ignore lint/a11y/noStaticElementInteractions: the list beside it is what is read and reached by keys
        <path
          key={code}
          data-code={code}
          className={draft.countries.has(code) ? "chosen" : ""}
          d={path}
          onClick={() => toggle(code)}
        >
          <title>{country(code)}</title>
        </path>
      ))}
      {shapes.map(([code, , [x, y]]) => {
        const seen = packets.get(code) ?? 0;
        return seen > 0 && <circle key={code} cx={x} cy={y} r={2 + LARGEST * Math.sqrt(seen / most)} />;
      })}
    </svg>
  );
}
