// One line per unit; on a phone one card per unit.
export default {
  template: `
  <section class="apis-card">
    <h2>Units</h2>
    <table class="apis-table units">
      <thead><tr>
        <th>Unit</th><th>Battery</th><th class="num">Sun</th><th class="num">Load</th><th class="num">Mains</th>
        <th>Mode</th><th>Converter</th><th class="num">From the bus</th><th>Remarks</th>
      </tr></thead>
      <tbody>
        <tr v-for="u in state.units" :key="u.id" :class="{absent: !u.present}">
          <th scope="row"><a :href="'/unit/' + u.id">{{ u.id }}</a><span class="chip master" v-show="u.master">grid master</span></th>
          <td data-label="Battery" class="battery"><span class="meter"><i :style="{width: 100 * (u.soc_ratio || 0) + '%'}"></i></span>
            <b>{{ u.soc }}</b> <small>{{ u.stored }}</small></td>
          <td data-label="Sun" class="num">{{ u.solar }}</td>
          <td data-label="Load" class="num">{{ u.load }}</td>
          <td data-label="Mains" class="num">{{ u.mains }}</td>
          <td data-label="Mode">{{ u.mode }} <small v-show="u.local_mode">set for this unit</small></td>
          <td data-label="Converter"><span :class="{chip: u.reference, reference: u.reference}">{{ u.converter }}</span></td>
          <td data-label="From the bus" class="num">{{ u.power }} <small>{{ u.current }} · {{ u.voltage }}</small></td>
          <td data-label="Remarks" class="remarks" :class="{none: !u.note && !u.faults.length}"><span class="chip bad" v-for="f in u.faults" :key="f">⚠ {{ f }}</span>
            <small>{{ u.note }}</small></td>
        </tr>
      </tbody>
    </table>
  </section>`,
  props: { state: Object },
};
