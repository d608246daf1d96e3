// The picture of the grid: houses along a DC bus, with batteries, flows and running deals.
// A schematic, not a map: rows of houses hang on one trunk at the left. All words come ready from Python.

const MIN_CELL = 138; // [px] a house with its labels is not readable below this
const MAX_CELL = 270;
const TRUNK_X = 14;
const ARC_ROOM = 104; // [px] above the roofs, for the deals
const HOUSE = 112; // height of a house
const DROP = 66; // from the house down to the bus
const FOOT = 56; // below the bus, for the markers
const ROW = ARC_ROOM + HOUSE + DROP + FOOT;

// A path through points that lie straight over or beside each other, with round corners.
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

// A point of a cubic, as near to its middle as no label is yet.
function freePlace([a, b, c, d], taken) {
  const point = (t) => [0, 1].map((i) => {
    const u = 1 - t;
    return u * u * u * a[i] + 3 * u * u * t * b[i] + 3 * u * t * t * c[i] + t * t * t * d[i];
  });
  const places = [0.5, 0.3, 0.7, 0.2, 0.8].map(point);
  const isFree = ([x, y]) => taken.every(([tx, ty]) => Math.abs(x - tx) > 112 || Math.abs(y - ty) > 32);
  return places.find(isFree) || places[0];
}

export default {
  template: `
  <section class="apis-card apis-grid" ref="box">
    <h2>DC bus <b>{{ state.bus.voltage }}</b> <small>{{ state.bus.held }}</small></h2>
    <svg :viewBox="'0 0 ' + width + ' ' + height" role="img" :aria-label="summary">
      <defs>
        <linearGradient v-for="d in arcs" :key="d.id" :id="'arc-' + d.id" gradientUnits="userSpaceOnUse"
                        :x1="d.x1" :y1="d.y1" :x2="d.x2" :y2="d.y2 + 0.1">
          <stop offset="0" class="give-stop"/><stop offset="1" class="take-stop"/>
        </linearGradient>
      </defs>
      <g class="bus" :class="{up: state.bus.is_up}">
        <path :d="busPath" class="bar"/>
        <path v-for="s in segments" :key="s.key" :d="s.path" class="flow" :class="{rev: s.reverse}"
              :stroke-width="s.width" v-show="s.width > 0"/>
      </g>
      <g v-for="d in arcs" :key="d.id" class="deal" :class="{flowing: d.deal.flowing}">
        <title>{{ d.deal.giver }} → {{ d.deal.taker }}: {{ d.deal.progress }}, {{ d.deal.state }}</title>
        <path :d="d.path" class="track" :stroke="'url(#arc-' + d.id + ')'"/>
        <path :d="d.path" class="dots" v-show="d.deal.flowing"/>
      </g>
      <g v-for="h in houses" :key="h.u.id" :transform="'translate(' + h.x + ' ' + h.y + ')'" class="house"
         :class="{absent: !h.u.present}">
        <title>{{ h.u.id }}: {{ h.u.soc }}, {{ h.u.converter }}{{ h.u.note ? ' (' + h.u.note + ')' : '' }}</title>
        <g :class="h.way">
          <line x1="0" :y1="-DROP" x2="0" y2="0" class="wire"/>
          <line x1="0" :y1="h.way === 'give' ? -DROP : 0" x2="0" :y2="h.way === 'give' ? 0 : -DROP"
                class="flow" :stroke-width="h.width" v-show="h.width > 0"/>
          <path v-show="h.width > 0" class="tip" :d="h.way === 'give' ? 'M-9,-26 L9,-26 L0,-10 Z' : 'M-9,-36 L9,-36 L0,-52 Z'"/>
          <circle cx="0" cy="0" r="6.5" class="node"/>
          <text x="15" :y="-DROP / 2 + 1" class="watts" v-show="h.width > 0">{{ h.u.flow }}</text>
          <text x="15" :y="-DROP / 2 + 15" class="small" v-show="h.width > 0">{{ h.way === 'give' ? 'giving' : 'taking' }}</text>
        </g>
        <text x="-13" :y="-DROP / 2 + 6" class="name">{{ h.u.id }}</text>
        <g :transform="'translate(0 ' + -DROP + ')'">
          <path d="M-62,-62 L0,-104 L62,-62 Z" class="roof"/>
          <path d="M10,-93 L50,-66 L36,-66 L4,-88 Z" class="panel" :style="{opacity: h.sun}"/>
          <rect x="-49" y="-62" width="98" height="62" rx="2" class="wall"/>
          <rect x="-31" y="-56" width="12" height="5" rx="1.5" class="cell"/>
          <rect x="-41" y="-52" width="32" height="46" rx="4" class="cell"/>
          <rect x="-38" :y="-9 - h.fill" width="26" :height="h.fill" rx="2" class="charge"/>
          <text x="20" y="-28" class="soc">{{ h.u.soc }}</text>
          <text x="20" y="-13" class="small mid">{{ h.u.band }}</text>
          <g transform="translate(-52 -125)" class="sun">
            <circle r="5"/><path d="M0,-10V-7.5M0,7.5V10M-10,0H-7.5M7.5,0H10M-7,-7L-5.3,-5.3M5.3,5.3L7,7M-7,7L-5.3,5.3M5.3,-5.3L7,-7"/>
          </g>
          <text x="-52" y="-100" class="watts mid">{{ h.u.solar }}</text>
          <path transform="translate(52 -125)" class="plug" d="M-3,-10V-5M3,-10V-5M-6,-5H6V-1A6,6 0 0 1 -6,-1ZM0,5V10"/>
          <text x="52" y="-100" class="watts mid">{{ h.u.load }}</text>
          <g v-show="h.u.faults.length" class="alarm"><path d="M-17,-90 L-5,-69 L-29,-69 Z"/><text x="-17" y="-72">!</text></g>
        </g>
        <g v-show="h.u.reference" transform="translate(0 20)" class="badge reference">
          <rect x="-55" y="-9" width="110" height="18" rx="9"/><text y="4">⚓ holds the voltage</text>
        </g>
        <g v-show="h.u.master" :transform="'translate(0 ' + (h.u.reference ? 41 : 20) + ')'" class="badge master">
          <rect x="-55" y="-9" width="110" height="18" rx="9"/><text y="4">★ grid master</text>
        </g>
        <text v-show="!h.u.present" y="20" class="small mid">{{ h.u.note }}</text>
      </g>
      <g v-for="d in arcs" :key="d.id" :transform="'translate(' + d.lx + ' ' + d.ly + ')'">
        <rect x="-54" y="-14" width="108" height="28" rx="8" class="tag"/>
        <text y="0" class="tag-text">{{ d.deal.progress }}</text>
        <rect x="-44" y="5" width="88" height="4" rx="2" class="rest"/>
        <rect x="-44" y="5" :width="88 * d.deal.ratio" height="4" rx="2" class="done"/>
      </g>
    </svg>
    <div class="apis-legend" aria-hidden="true">
      <span><i class="give"></i>giving to the bus</span><span><i class="take"></i>taking from the bus</span>
      <span><i class="charge"></i>battery</span><span><i class="arc"></i>deal, from giver to taker</span>
    </div>
  </section>`,
  props: { state: Object },
  data: () => ({ box: 360, DROP }),
  mounted() {
    this.observer = new ResizeObserver(([entry]) => (this.box = Math.floor(entry.contentRect.width)));
    this.observer.observe(this.$refs.box);
  },
  unmounted() {
    this.observer.disconnect();
  },
  computed: {
    width() {
      // Drawing units across: fewer than pixels, so larger houses, where there is room for them.
      const room = this.box / (TRUNK_X + 200 * this.state.units.length);
      return this.box / Math.min(Math.max(room, 1), 1.3);
    },
    rows() {
      const most = Math.max(1, Math.floor((this.width - TRUNK_X) / MIN_CELL));
      return Math.max(1, Math.ceil(this.state.units.length / most));
    },
    columns() {
      return Math.ceil(this.state.units.length / this.rows) || 1;
    },
    cell() {
      return Math.min((this.width - TRUNK_X) / this.columns, MAX_CELL);
    },
    left() {
      return TRUNK_X + (this.width - TRUNK_X - this.cell * this.columns) / 2;
    },
    height() {
      return this.rows * ROW;
    },
    strongest() {
      // At least a kilowatt, so that an idle converter's few watts stay a thin line.
      return Math.max(1000, ...this.state.units.map((u) => Math.abs(u.grid_w || 0)));
    },
    brightest() {
      return Math.max(1000, ...this.state.units.map((u) => u.solar_w || 0));
    },
    houses() {
      return this.state.units.map((u, i) => {
        const width = u.present ? this.thickness(u.grid_w) : 0;
        return {
          u, width,
          x: this.left + ((i % this.columns) + 0.5) * this.cell,
          y: this.rowY(Math.floor(i / this.columns)),
          way: (u.grid_w || 0) < 0 ? 'give' : 'take',
          fill: 40 * Math.min(Math.max(u.soc_ratio || 0, 0), 1),
          sun: 0.15 + 0.85 * Math.min((u.solar_w || 0) / this.brightest, 1),
        };
      });
    },
    busPath() {
      const ends = [];
      for (let row = 0; row < this.rows; row++) {
        const last = this.houses.filter((_, i) => Math.floor(i / this.columns) === row).at(-1);
        if (last) ends.push(`M${this.rows > 1 ? TRUNK_X : this.houses[0].x},${last.y} H${last.x}`);
      }
      if (this.rows > 1) ends.push(`M${TRUNK_X},${this.rowY(0)} V${this.rowY(this.rows - 1)}`);
      return ends.join(' ');
    },
    segments() {
      // Power through each stretch of the bus: what all houses beyond it take together.
      const found = [];
      let beyond = 0;
      for (let i = this.houses.length - 1; i > 0; i--) {
        const { u, x, y } = this.houses[i];
        beyond += u.grid_w || 0;
        if (i % this.columns) {
          found.push(this.stretch(`h${i}`, `M${this.houses[i - 1].x},${y} H${x}`, beyond - this.below(i)));
        } else {
          found.push(this.stretch(`t${i}`, `M${TRUNK_X},${y - ROW} V${y}`, beyond));
          found.push(this.stretch(`s${i}`, `M${TRUNK_X},${y} H${x}`, beyond - this.below(i)));
        }
      }
      if (this.rows > 1) {
        const { x, y } = this.houses[0];
        found.push(this.stretch('s0', `M${TRUNK_X},${y} H${x}`, -this.below(0)));
      }
      return found;
    },
    arcs() {
      const labels = [];
      const at = Object.fromEntries(this.houses.map((h) => [h.u.id, h]));
      return this.state.deals.filter((d) => at[d.giver] && at[d.taker]).map((deal, i) => {
        const roof = DROP + 105;
        const [x1, y1, x2, y2] = [at[deal.giver].x, at[deal.giver].y - roof, at[deal.taker].x, at[deal.taker].y - roof];
        const shared = { id: deal.id.replace(/[^A-Za-z0-9_-]/g, '_'), deal, x1, y1, x2, y2 };
        if (y1 !== y2) {
          // Between rows: over the giver's neighbours, down or up a gap between houses, and in from above.
          const lane = 6 * (i % 3);
          const gap = Math.min(x2 + (x1 < x2 ? -1 : 1) * this.cell / 2 + lane - 6, this.width - 4);
          const [out, into] = [y1 - 42 - lane, y2 - 52];
          const path = rounded([[x1, y1], [x1, out], [gap, out], [gap, into], [x2, into], [x2, y2]], 14);
          return { ...shared, path, lx: x2, ly: into };
        }
        const reach = Math.min(Math.abs(x2 - x1) / this.width, 1);
        const rise = (52 + 40 * reach + 12 * (i % 2)) * 4 / 3; // a cubic peaks at 3/4 of its handles
        const bend = (x2 - x1) * 0.12;
        const ends = [[x1, y1], [x1 + bend, y1 - rise], [x2 - bend, y2 - rise], [x2, y2]];
        const [lx, ly] = freePlace(ends, labels);
        labels.push([lx, ly]);
        return { ...shared, path: `M${ends[0]} C${ends.slice(1).join(' ')}`, lx, ly };
      });
    },
    summary() {
      const deals = this.state.deals.map((d) => `${d.giver} gives to ${d.taker}, ${d.progress}`);
      return `Houses on a DC bus of ${this.state.bus.voltage}. ${deals.join('; ') || 'No deal is running.'}`;
    },
  },
  methods: {
    rowY(row) {
      return (row + 1) * ROW - FOOT;
    },
    thickness(watts) {
      const size = Math.abs(watts || 0);
      return size < 5 ? 0 : 2.5 + 7 * Math.sqrt(size / this.strongest);
    },
    below(i) {
      // What all rows under the row of house i take.
      const next = (Math.floor(i / this.columns) + 1) * this.columns;
      return this.houses.slice(next).reduce((sum, h) => sum + (h.u.grid_w || 0), 0);
    },
    stretch(key, path, watts) {
      return { key, path, width: 0.8 * this.thickness(watts), reverse: watts < 0 };
    },
  },
};
