// One line per unit, in any order; on a phone one card per unit.
const COLUMNS = [
  ['id', 'Unit'], ['soc_ratio', 'Battery'], ['solar_w', 'Sun', 'num'], ['load_w', 'Load', 'num'], ['mains_w', 'Mains', 'num'], ['mode', 'Mode'],
  ['converter', 'Converter'], ['power_w', 'From the bus', 'num'], ['current_a', 'Current', 'num'], ['voltage_v', 'Voltage', 'num'], ['deals', 'Deals', 'num'], ['rank', 'Remarks'],
];
export default {
  template: `
  <section class="apis-card">
    <h2>Units <span class="count">{{ state.units.length }}</span></h2>
    <table class="apis-table units">
      <thead><tr>
        <th v-for="[key, name, kind] in columns" :key="key" :class="kind" :aria-sort="key === by ? (down ? 'descending' : 'ascending') : null">
          <button type="button" @click="sort(key)">{{ name }}{{ key === by ? (down ? ' ▾' : ' ▴') : '' }}</button></th>
      </tr></thead>
      <tbody>
        <tr v-for="u in sorted" :key="u.id" :class="{absent: !u.present}">
          <th scope="row"><a :href="root + '/unit/' + u.id">{{ u.id }}</a><span class="chip master" v-show="u.master">grid master</span></th>
          <td data-label="Battery" class="battery"><span class="meter"><i :style="{width: 100 * (u.soc_ratio || 0) + '%'}"></i></span>
            <b>{{ u.soc }}</b> <small>{{ u.stored }}</small></td>
          <td data-label="Sun" class="num">{{ u.solar }}</td>
          <td data-label="Load" class="num">{{ u.load }}</td>
          <td data-label="Mains" class="num">{{ u.mains }}</td>
          <td data-label="Mode">{{ u.mode }} <small v-show="u.local_mode">set for this unit</small></td>
          <td data-label="Converter"><span :class="{chip: u.reference, reference: u.reference}">{{ u.converter }}</span></td>
          <td data-label="From the bus" class="num">{{ u.power }}</td>
          <td data-label="Current" class="num">{{ u.current }}</td>
          <td data-label="Voltage" class="num">{{ u.voltage }}</td>
          <td data-label="Deals" class="num">{{ u.deals }}</td>
          <td data-label="Remarks" class="remarks" :class="{none: !u.note && !u.faults.length}"><span class="chip bad" v-for="f in u.faults" :key="f">⚠ {{ f }}</span>
            <small>{{ u.note }}</small></td>
        </tr>
      </tbody>
    </table>
  </section>`,
  props: { state: Object, root: String },
  data: () => ({ by: 'id', down: false, columns: COLUMNS }),
  computed: {
    sorted() {
      const value = (u) => (this.by === 'rank' ? 2 * u.faults.length + Number(Boolean(u.note)) : u[this.by]);
      const rank = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return Number(x === null) - Number(y === null); // what is not known stands last
        return (this.down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0);
      };
      return [...this.state.units].sort(rank);
    },
  },
  methods: {
    sort(key) {
      const wordy = ['id', 'mode', 'converter'].includes(key);
      this.down = key === this.by ? !this.down : !wordy; // numbers: the largest first
      this.by = key;
    },
  },
};
