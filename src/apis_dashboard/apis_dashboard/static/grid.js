// The picture of the grid. Python says once how the bus runs (plan) and then, in small messages,
// what has changed (take). Houses are SVG, so that they can be read, focused and clicked; what
// moves is drawn on a canvas over it by the browser alone, at the display's pace.

const SIZES = {
  // least width of a cell, height of a row, room above the bus, length of the drop, house height
  full: { cell: 150, row: 312, above: 250, drop: 64, house: 106 },
  mid: { cell: 84, row: 150, above: 124, drop: 34, house: 58 },
  dot: { cell: 46, row: 74, above: 48, drop: 0, house: 0 },
};
const MAX_CELL = 290;
const EDGE = 10; // where the bus turns into the next row [px]
const CALM_W = 5; // below this nothing is drawn to flow [W]

const F = { PRESENT: 0, SOC: 1, BAND: 2, WATTS: 3, VOLTS: 4, SUN: 5, LOAD: 6, MAINS: 7, FLAGS: 8, NOTE: 9, CONVERTER: 10 };
const FLAG = { REFERENCE: 1, MASTER: 2, FAULT: 4 };

export function watts(value) {
  if (value === null || value === undefined) return '–';
  const text = Math.abs(value) >= 999.5 ? `${(value / 1000).toFixed(2)} kW` : `${Math.round(value)} W`;
  return text.replace(/^-0 W$/, '0 W').replace('-', '−');
}

// A polyline with round corners, as SVG path.
function rounded(points, radius) {
  const parts = [`M${points[0]}`];
  for (let i = 1; i < points.length - 1; i++) {
    const [from, corner, to] = points.slice(i - 1, i + 2);
    const near = (end) => {
      const [dx, dy] = [end[0] - corner[0], end[1] - corner[1]];
      const length = Math.hypot(dx, dy) || 1;
      const r = Math.min(radius, length / 2) / length;
      return [corner[0] + dx * r, corner[1] + dy * r];
    };
    parts.push(`L${near(from)} Q${corner} ${near(to)}`);
  }
  return `${parts.join(' ')} L${points.at(-1)}`;
}

// Points of a cubic, for the canvas.
function cubic([a, b, c, d], steps = 24) {
  return Array.from({ length: steps + 1 }, (_, i) => {
    const t = i / steps, u = 1 - t;
    return [0, 1].map((k) => u * u * u * a[k] + 3 * u * u * t * b[k] + 3 * u * t * t * c[k] + t * t * t * d[k]);
  });
}

const House = {
  props: { u: Array, id: String, size: String, at: Object, scale: Number, bright: Number, root: String },
  template: `
  <a :href="root + '/unit/' + id" class="house" :class="[way, size, {absent: !u[0]}]" :transform="'translate(' + at.x + ' ' + at.y + ') scale(' + scale + ')'"
     :aria-label="label" @mouseenter="$emit('look', label)" @focus="$emit('look', label)" @mouseleave="$emit('look', '')" @blur="$emit('look', '')">
    <template v-if="size === 'full'">
      <rect x="-66" y="-205" width="132" height="238" class="hit"/>
      <line x1="0" y1="-64" x2="0" y2="0" class="wire"/>
      <path v-if="flows" class="tip" :d="way === 'give' ? 'M-9,-25 L9,-25 L0,-9 Z' : 'M-9,-36 L9,-36 L0,-52 Z'"/>
      <circle r="6.5" class="node"/>
      <text x="15" y="-34" class="watts" v-if="flows">{{ flow }}</text>
      <text x="15" y="-20" class="small" v-if="flows">{{ way === 'give' ? 'giving' : 'taking' }}</text>
      <text x="-14" y="-27" class="name">{{ id }}</text>
      <text x="0" y="24" class="volts" v-if="u[4] > 100">{{ u[4].toFixed(1) }} V</text>
      <g transform="translate(0 -64)">
        <path d="M-60,-58 L0,-100 L60,-58 Z" class="roof"/>
        <path d="M10,-89 L48,-62 L35,-62 L4,-84 Z" class="panel" :style="{opacity: sun}"/>
        <rect x="-48" y="-58" width="96" height="58" rx="2" class="wall"/>
        <rect x="-30" y="-53" width="12" height="5" rx="1.5" class="cell"/>
        <rect x="-39" y="-49" width="30" height="44" rx="4" class="cell"/>
        <rect x="-36" :y="-8 - fill" width="24" :height="fill" rx="2" class="charge"/>
        <text x="20" y="-27" class="soc">{{ soc }}</text>
        <text x="20" y="-12" class="small mid-text">{{ u[2] }}</text>
        <g transform="translate(-50 -122)" class="sun" :class="{off: !(u[5] > 1)}"><circle r="5"/><path d="M0,-10V-7.5M0,7.5V10M-10,0H-7.5M7.5,0H10M-7,-7L-5.3,-5.3M5.3,5.3L7,7M-7,7L-5.3,5.3M5.3,-5.3L7,-7"/></g>
        <text x="-50" y="-97" class="watts mid-text">{{ watts(u[5]) }}</text>
        <path transform="translate(50 -122)" class="plug" d="M-3,-10V-5M3,-10V-5M-6,-5H6V-1A6,6 0 0 1 -6,-1ZM0,5V10"/>
        <text x="50" y="-97" class="watts mid-text">{{ watts(u[6]) }}</text>
        <g v-if="u[8] & 4" class="alarm"><path d="M-17,-86 L-5,-65 L-29,-65 Z"/><text x="-17" y="-68">!</text></g>
      </g>
      <g v-if="u[8] & 1" :transform="'translate(0 ' + (u[4] > 100 ? 40 : 22) + ')'" class="badge reference"><rect x="-57" y="-9" width="114" height="18" rx="9"/><text y="4">⚓ holds the voltage</text></g>
      <g v-if="u[8] & 2" :transform="'translate(0 ' + (u[8] & 1 ? 61 : u[4] > 100 ? 40 : 22) + ')'" class="badge master"><rect x="-44" y="-9" width="88" height="18" rx="9"/><text y="4">★ grid master</text></g>
      <text v-if="!u[0]" y="24" class="small mid-text">{{ u[9] }}</text>
    </template>
    <template v-else-if="size === 'mid'">
      <rect x="-40" y="-100" width="80" height="130" class="hit"/>
      <line x1="0" y1="-34" x2="0" y2="0" class="wire"/>
      <path v-if="flows" class="tip" :d="way === 'give' ? 'M-6,-14 L6,-14 L0,-4 Z' : 'M-6,-18 L6,-18 L0,-28 Z'"/>
      <circle r="4" class="node"/>
      <g transform="translate(0 -34)">
        <path d="M-33,-34 L0,-57 L33,-34 Z" class="roof"/>
        <path d="M7,-50 L26,-37 L18,-37 L3,-47.5 Z" class="panel" :style="{opacity: sun}"/>
        <rect x="-27" y="-34" width="54" height="34" rx="1.5" class="wall"/>
        <rect x="-25.5" :y="-1.5 - fill * 31 / 38" width="51" :height="fill * 31 / 38" class="charge soft"/>
        <text y="-12" class="soc">{{ soc }}</text>
        <g v-if="u[8] & 4" class="alarm" transform="translate(-8 -2) scale(0.9)"><path d="M-17,-66 L-6,-47 L-28,-47 Z"/><text x="-17" y="-50">!</text></g>
      </g>
      <text y="17" class="name">{{ u[8] & 2 ? '★ ' : '' }}{{ u[8] & 1 ? '⚓ ' : '' }}{{ id }}</text>
      <text y="29" class="small mid-text" v-if="u[4] > 100">{{ u[4].toFixed(1) }} V</text>
      <text :y="u[4] > 100 ? 41 : 29" class="small mid-text" v-if="flows">{{ flow }} {{ way === 'give' ? 'giving' : 'taking' }}</text>
    </template>
    <template v-else>
      <circle r="21" class="hit"/>
      <circle r="15.5" class="disc"/>
      <path :d="sector" class="charge soft"/>
      <circle r="15.5" class="ring"/>
      <text y="4" class="soc">{{ u[1] === null ? '–' : Math.round(u[1]) }}</text>
      <text y="28" class="name">{{ u[8] & 2 ? '★' : '' }}{{ u[8] & 1 ? '⚓' : '' }}{{ id }}</text>
      <path v-if="flows" class="tip" :d="way === 'give' ? 'M-6,-25 L6,-25 L0,-33 Z' : 'M-6,-33 L6,-33 L0,-25 Z'"/>
      <g v-if="u[8] & 4" class="alarm" transform="translate(26 52) scale(0.8)"><path d="M-17,-90 L-5,-69 L-29,-69 Z"/><text x="-17" y="-72">!</text></g>
    </template>
  </a>`,
  emits: ['look'],
  computed: {
    flows() { return this.u[0] && Math.abs(this.u[3] || 0) >= CALM_W; },
    way() { return (this.u[3] || 0) < 0 ? 'give' : 'take'; },
    flow() { return watts(Math.abs(this.u[3] || 0)); },
    soc() { return this.u[1] === null ? '–' : `${Math.round(this.u[1])} %`; },
    fill() { return 0.38 * Math.min(Math.max(this.u[1] || 0, 0), 100); },
    sun() { return (0.15 + 0.85 * Math.min((this.u[5] || 0) / this.bright, 1)).toFixed(2); },
    sector() {
      const part = Math.min(Math.max((this.u[1] || 0) / 100, 0), 0.9999);
      const y = 14 - 28 * part, x = Math.sqrt(Math.max(196 - y * y, 0));
      return `M${-x},${y} A14,14 0 ${part > 0.5 ? 1 : 0} 0 ${x},${y} Z`;
    },
    label() {
      const u = this.u;
      if (!u[0]) return `${this.id}: ${u[9]}`;
      const flow = this.flows ? `${this.way === 'give' ? 'giving' : 'taking'} ${this.flow}` : 'no power on the bus';
      const marks = [u[8] & 1 ? 'holds the voltage' : '', u[8] & 2 ? 'grid master' : '', u[8] & 4 ? 'has a fault' : ''];
      return [`${this.id}: ${this.soc} ${u[2]}`, flow, u[4] > 100 ? `${u[4].toFixed(1)} V` : '', `sun ${watts(u[5])}`, `load ${watts(u[6])}`,
        u[7] > 1 ? `mains ${watts(u[7])}` : '', ...marks, u[9]].filter(Boolean).join(' · ');
    },
  },
  methods: { watts },
};

export default {
  components: { House },
  template: `
  <section class="apis-card apis-grid" ref="box">
    <div class="head"><h2>DC bus <b>{{ frame.bus.voltage }}</b> <small>{{ frame.bus.held }}</small></h2><small class="look" aria-hidden="true">{{ info || hint }}</small></div>
    <div class="scene" :style="{height: height + 'px'}" :class="['of-' + scene.size, {up: frame.bus.up}]">
      <svg :width="box" :height="height" :viewBox="'0 0 ' + box + ' ' + height" role="group" :aria-label="summary">
        <g v-for="l in scene.lines" :key="l.id" class="line" :class="{hot: l.load > 0.8}" @mouseenter="info = lineWords(l)" @mouseleave="info = ''">
          <path :d="l.path" class="bar"/><path :d="l.path" class="hit"/>
          <text v-if="l.label" :x="l.label[0]" :y="l.label[1]" class="amps">{{ lineLabel(l) }}</text>
        </g>
        <g v-for="d in arcs" :key="d.id" class="deal" :class="{flowing: d.flowing}" @mouseenter="info = dealWords(d)" @mouseleave="info = ''">
          <linearGradient :id="d.key" gradientUnits="userSpaceOnUse" :x1="d.from[0]" :y1="d.from[1]" :x2="d.to[0]" :y2="d.to[1] + 0.1">
            <stop offset="0" class="give-stop"/><stop offset="1" class="take-stop"/></linearGradient>
          <path :d="d.path" class="track" :stroke="'url(#' + d.key + ')'"/>
          <path :d="d.path" class="done" :stroke="'url(#' + d.key + ')'" pathLength="1" :stroke-dasharray="d.ratio + ' 2'"/>
        </g>
        <House v-for="p in scene.places" :key="p.id" :id="p.id" :root="root" :u="frame.units[p.id]" :size="scene.size" :at="p" :scale="scene.scale" :bright="bright" @look="info = $event"/>
        <g v-for="d in labelled" :key="d.id" :transform="'translate(' + d.label + ')'" class="tag-group">
          <rect x="-54" y="-14" width="108" height="28" rx="8" class="tag"/><text y="0" class="tag-text">{{ d.progress }}</text>
          <rect x="-44" y="5" width="88" height="4" rx="2" class="rest"/><rect x="-44" y="5" :width="88 * d.ratio" height="4" rx="2" class="part"/>
        </g>
      </svg>
      <canvas ref="canvas" aria-hidden="true"></canvas>
    </div>
    <div class="apis-legend" aria-hidden="true">
      <span><i class="give"></i>giving to the bus</span><span><i class="take"></i>taking from the bus</span>
      <span><i class="charge"></i>battery</span><span><i class="arc"></i>deal, from giver to taker</span><span>wider = more power</span>
    </div>
  </section>`,
  props: { plan: Object, first: Object, root: String },
  data() {
    return { box: 360, frame: this.first, info: '', calm: false };
  },
  mounted() {
    this.observer = new ResizeObserver(([entry]) => (this.box = Math.max(300, Math.floor(entry.contentRect.width))));
    this.observer.observe(this.$refs.box);
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.phase = {};
    this.last = performance.now();
    const draw = (now) => {
      this.draw(now);
      this.request = requestAnimationFrame(draw);
    };
    this.request = requestAnimationFrame(draw);
  },
  unmounted() {
    this.observer.disconnect();
    cancelAnimationFrame(this.request);
  },
  computed: {
    hint() {
      return 'Point at a house, a line or a deal to read more';
    },
    bright() {
      return Math.max(1000, ...Object.values(this.frame.units).map((u) => u[F.SUN] || 0));
    },
    strongest() {
      // At least a kilowatt, so that an idle converter's few watts stay a thin line.
      return Math.max(1000, ...Object.values(this.frame.units).map((u) => Math.abs(u[F.WATTS] || 0)));
    },
    busiest() {
      return Math.max(1000, ...this.frame.lines.map((l) => Math.abs(l[1] || 0)));
    },
    scene() {
      return this.plan.order.length ? this.rowScene() : this.treeScene();
    },
    height() {
      return this.scene.height;
    },
    arcs() {
      const at = this.scene.at, size = SIZES[this.scene.size];
      const roof = this.scene.size === 'full' ? (size.drop + 101) * this.scene.scale : this.scene.size === 'mid' ? size.drop + 58 : 17;
      return this.frame.deals.filter((d) => at[d.giver] && at[d.taker]).map((d, i) => {
        const [from, to] = [d.giver, d.taker].map((id) => [at[id].x, at[id].y - roof]);
        const far = Math.hypot(to[0] - from[0], to[1] - from[1]);
        let handles;
        if (Math.abs(from[1] - to[1]) < 2) {
          // not higher than the words below the row above
          const most = this.scene.size === 'full' ? size.row * 0.3 : size.row * 0.17;
          const rise = Math.min((this.scene.size === 'full' ? 50 : 14) + 0.08 * far + 7 * (i % 3), most) * 4 / 3;
          const bend = (to[0] - from[0]) * 0.12;
          handles = [from, [from[0] + bend, from[1] - rise], [to[0] - bend, to[1] - rise], to];
        } else {
          const lift = this.scene.size === 'full' ? Math.min(30 + far * 0.15, 90) : 40;
          handles = [from, [from[0] + (to[0] - from[0]) * 0.1, from[1] - lift], [to[0] - (to[0] - from[0]) * 0.1, to[1] - lift], to];
        }
        const curve = cubic(handles);
        return { ...d, from, to, curve, path: `M${handles[0]} C${handles.slice(1).join(' ')}`, key: `arc-${d.id.replace(/[^A-Za-z0-9_-]/g, '_')}`, label: curve[12] };
      });
    },
    labelled() {
      if (this.scene.size !== 'full') return [];
      const taken = [], grow = this.scene.scale;
      const alone = ([x, y]) => taken.every(([a, b]) => Math.abs(a - x) > 114 || Math.abs(b - y) > 32);
      const clear = ([x, y]) => this.scene.places.every((p) => Math.abs(p.x - x) > 54 + 62 * grow || y + 14 < p.y - 206 * grow || y - 14 > p.y + 34);
      return this.arcs.map((d) => {
        const spots = [12, 10, 14, 8, 16, 6, 18, 4, 20].map((i) => d.curve[i]).filter(alone);
        const free = spots.find(clear) || spots[0]; // rather over a house than not at all
        if (!free) return null;
        taken.push(free);
        return { ...d, label: [Math.min(Math.max(free[0], 58), this.box - 58), Math.max(free[1], 16)] };
      }).filter(Boolean);
    },
    summary() {
      const deals = this.frame.deals.slice(0, 8).map((d) => `${d.giver} gives to ${d.taker}, ${d.progress}`);
      return `${this.plan.units.length} houses on a DC bus of ${this.frame.bus.voltage}. ${deals.join('; ') || 'No deal is running.'}`;
    },
  },
  methods: {
    // News from Python: only what has changed.
    take(news) {
      for (const [id, u] of Object.entries(news.units || {})) this.frame.units[id] = u;
      for (const key of ['lines', 'deals', 'bus']) if (news[key]) this.frame[key] = news[key];
    },
    rowScene() {
      const order = this.plan.order, n = order.length, W = this.box;
      const fits = (name, most) => Math.ceil(n / Math.max(1, Math.floor((W - 2 * EDGE) / SIZES[name].cell))) * SIZES[name].row <= most;
      const name = fits('full', 1250) ? 'full' : fits('mid', 1400) ? 'mid' : 'dot';
      const size = SIZES[name];
      const most = Math.max(1, Math.floor((W - 2 * EDGE) / size.cell));
      const rows = Math.ceil(n / most), columns = Math.ceil(n / rows);
      const cell = Math.min((W - 2 * EDGE) / columns, MAX_CELL), left = (W - cell * columns) / 2;
      const scale = name === 'full' && rows === 1 ? Math.min(Math.max(cell / 200, 1), 1.4) : 1; // larger houses where there is room
      const above = rows === 1 && name === 'full' ? 190 * scale + 72 : size.above;
      const places = order.map((id, i) => {
        const row = Math.floor(i / columns), inRow = i % columns;
        const column = row % 2 ? columns - 1 - inRow : inRow;
        return { id, row, x: left + (column + 0.5) * cell, y: above + row * size.row };
      });
      const at = Object.fromEntries(places.map((p) => [p.id, p]));
      const lines = this.plan.lines.map((l, i) => {
        const [a, b] = [at[l.from], at[l.to]];
        const turn = a.row % 2 ? Math.max(left - 4, EDGE - 4) : Math.min(left + cell * columns + 4, W - EDGE + 4);
        const points = a.row === b.row ? [[a.x, a.y], [b.x, b.y]] : [[a.x, a.y], [turn, a.y], [turn, b.y], [b.x, b.y]];
        const label = name === 'full' && a.row === b.row && Math.abs(a.x - b.x) > 130 ? [(a.x + b.x) / 2, a.y - 12] : null;
        return { ...l, i, points, path: rounded(points, 12), label, load: this.load(l, i) };
      });
      return { size: name, scale, places, at, lines, height: above + (rows - 1) * size.row + { full: 74 * scale, mid: 52, dot: 40 }[name] };
    },
    treeScene() {
      const units = this.plan.units, W = this.box;
      const [xs, ys] = [units.map((u) => u.x), units.map((u) => u.y)];
      const spanX = Math.max(...xs) - Math.min(...xs) || 1, spanY = Math.max(...ys) - Math.min(...ys) || 1;
      const scale = Math.min((W - 90) / spanX, Math.max(W < 600 ? 560 : 780, 300) / spanY);
      const offX = (W - spanX * scale) / 2 - Math.min(...xs) * scale, top = Math.max(...ys);
      const spot = (u, above) => ({ id: u.id, row: 0, x: offX + u.x * scale, y: above + (top - u.y) * scale });
      // Houses where there is room for them, else discs.
      const far = (a, b) => Math.abs(a.x - b.x) > 96 || Math.abs(a.y - b.y) > SIZES.mid.row;
      const dots = units.map((u) => spot(u, 52));
      const size = dots.every((a, i) => dots.slice(i + 1).every((b) => far(a, b))) ? 'mid' : 'dot';
      const above = size === 'mid' ? SIZES.mid.above : 52;
      const places = units.map((u) => spot(u, above));
      const at = Object.fromEntries(places.map((p) => [p.id, p]));
      const lines = this.plan.lines.map((l, i) => {
        const points = [[at[l.from].x, at[l.from].y], [at[l.to].x, at[l.to].y]];
        const middle = [(points[0][0] + points[1][0]) / 2 + 18, (points[0][1] + points[1][1]) / 2 - 10];
        return { ...l, i, points, path: `M${points[0]} L${points[1]}`, label: size === 'mid' ? middle : null, load: this.load(l, i) };
      });
      return { size, scale: 1, places, at, lines, height: above + spanY * scale + 44 };
    },
    load(line, i) {
      const amps = this.frame.lines[i] && this.frame.lines[i][0];
      return line.capacity_a && amps ? Math.abs(amps) / line.capacity_a : 0;
    },
    thickness(value, most) {
      const size = Math.abs(value || 0);
      return size < CALM_W ? 0 : 2.5 + 5.5 * Math.sqrt(Math.min(size / most, 1));
    },
    lineLabel(l) {
      const [amps, power] = this.frame.lines[l.i] || [];
      return Math.abs(power || 0) < CALM_W ? '' : `${Math.abs(amps).toFixed(1)} A`;
    },
    lineWords(l) {
      const [amps, power, drop] = this.frame.lines[l.i] || [];
      if (amps === null || amps === undefined) return `line ${l.from}–${l.to}: not known`;
      const [from, to] = amps < 0 ? [l.to, l.from] : [l.from, l.to];
      const loss = drop === null || drop === undefined ? '' : ` · ${Math.abs(drop).toFixed(1)} V drop, ${watts(Math.abs(drop * amps))} lost`;
      const limit = l.capacity_a ? ` of ${l.capacity_a} A allowed` : '';
      return `line ${from} → ${to}: ${Math.abs(amps).toFixed(2)} A${limit}, ${watts(Math.abs(power))}${loss}`;
    },
    dealWords(d) {
      return `deal ${d.giver} → ${d.taker}: ${d.progress}, ${d.state}`;
    },
    colours() {
      const style = getComputedStyle(this.$refs.box);
      this.colour = Object.fromEntries(['give', 'take', 'flow', 'card'].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    },
    draw(now) {
      const canvas = this.$refs.canvas;
      if (!canvas) return;
      const scale = Math.min(devicePixelRatio || 1, 2);
      const [w, h] = [Math.round(this.box * scale), Math.round(this.height * scale)];
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
      if (!this.colour || now - (this.coloured || 0) > 1000) {
        this.colours();
        this.coloured = now;
      }
      const seconds = this.still.matches ? 0 : Math.min((now - this.last) / 1000, 0.1);
      this.last = now;
      const context = canvas.getContext('2d');
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.clearRect(0, 0, this.box, this.height);
      context.lineCap = 'round';
      context.lineJoin = 'round';
      const stroke = (key, points, power, most, colour, part, gap) => {
        const width = this.thickness(power, most) * part;
        if (!width) return;
        const pace = 18 + 50 * Math.sqrt(Math.min(Math.abs(power) / most, 1)); // [px/s]
        const phase = (this.phase[key] = ((this.phase[key] || 0) + pace * seconds) % gap);
        context.beginPath();
        points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.setLineDash([0.1, gap]);
        context.lineDashOffset = power < 0 ? phase : -phase;
        context.stroke();
      };
      for (const l of this.scene.lines) stroke(l.id, l.points, (this.frame.lines[l.i] || [])[1] || 0, this.busiest, this.colour.flow, 0.85, 17);
      const grow = this.scene.scale, drop = SIZES[this.scene.size].drop * grow;
      if (drop) {
        for (const p of this.scene.places) {
          const u = this.frame.units[p.id];
          if (u[F.PRESENT]) stroke(p.id, [[p.x, p.y - 12 * grow], [p.x, p.y - drop + 4]], u[F.WATTS] || 0, this.strongest, u[F.WATTS] < 0 ? this.colour.give : this.colour.take, 1, 14);
        }
      }
      for (const d of this.arcs) if (d.flowing) stroke(d.id, d.curve, 300, 1000, this.colour.card, 0.4, 14);
      // Nothing flows over a house and what is written on it.
      const [half, low, high] = this.scene.size === 'full' ? [50, 64, 158] : [28, 34, 84];
      context.globalCompositeOperation = 'destination-out';
      context.beginPath();
      for (const p of this.scene.places) {
        if (drop) context.rect(p.x - half * grow, p.y - high * grow, 2 * half * grow, (high - low) * grow);
        else {
          context.moveTo(p.x + 14.5, p.y);
          context.arc(p.x, p.y, 14.5, 0, 7);
        }
      }
      context.fill();
      context.globalCompositeOperation = 'source-over';
    },
  },
};
