// Where a setting's value lies on its slider, and back. No work at import.

const FINE = 1000; // positions of a slider
const WIDE = 40; // a range this much wider than the usual value is laid out by its logarithm

/** The number that a setting usually has: its default, or the middle of what the methods have. */
export function usual(info, method = "") {
  if (typeof info.default === "number") return info.default;
  const own = info.by_method ?? {};
  if (typeof own[method] === "number") return own[method];
  const numbers = Object.values(own).filter((value) => typeof value === "number");
  if (numbers.length) return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
  return null;
}

/** Whether a slider makes sense: both ends are known, and near enough to be told apart. */
export function hasSlider(info) {
  return ["int", "float"].includes(info.kind) && info.least !== null && info.most !== null && info.most <= 1e5;
}

/** The slider of a setting: {positions, toValue(position), toPosition(value)}. */
export function scaleOf(info) {
  const typical = usual(info) ?? (info.least + info.most) / 2;
  const whole = info.kind === "int";
  const tidy = (value) => {
    const inside = Math.min(Math.max(value, info.least), info.most);
    return whole ? Math.round(inside) : Number(inside.toPrecision(3));
  };
  if (typical > 0 && info.most / typical > WIDE) {
    // 0 has no logarithm: it gets the first position for itself, where the setting may be 0.
    const first = info.least > 0 ? info.least : typical / 100;
    const zero = info.least === 0 && !info.above;
    const across = Math.log(info.most / first);
    return {
      positions: FINE,
      toValue: (position) => (zero && position === 0 ? 0 : tidy(first * Math.exp((position / FINE) * across))),
      toPosition: (value) => (value <= first ? 0 : Math.round((Math.log(value / first) / across) * FINE)),
    };
  }
  const positions = whole ? Math.min(info.most - info.least, FINE) : FINE;
  const across = info.most - info.least;
  return {
    positions,
    toValue: (position) => {
      const value = tidy(info.least + (position / positions) * across);
      return value === 0 && info.above ? tidy(across / positions) : value;
    },
    toPosition: (value) => Math.round(((value - info.least) / across) * positions),
  };
}
