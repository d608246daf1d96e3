// Energy by unit.
export default {
  template: `
  <section class="apis-card">
    <h2>By unit</h2>
    <p v-if="!state.rows.length" class="empty">Nothing is known of this period yet.</p>
    <table class="apis-table energy" v-else>
      <thead><tr><th>Unit</th><th class="num">Sun</th><th class="num">Load</th><th class="num">Bought</th><th class="num">Received</th><th class="num">Given</th>
        <th class="num">Own sun used</th><th class="num">Self-sufficient</th><th class="num">without the bus</th><th class="num">Earned</th><th class="num">Paid</th></tr></thead>
      <tbody><tr v-for="r in state.rows" :key="r.id"><th scope="row"><a :href="root + '/unit/' + r.id">{{ r.id }}</a></th>
        <td data-label="Sun" class="num">{{ r.sun }}</td><td data-label="Load" class="num">{{ r.load }}</td><td data-label="Bought" class="num">{{ r.mains }}</td>
        <td data-label="Received" class="num">{{ r.received }}</td><td data-label="Given" class="num">{{ r.given }}</td><td data-label="Own sun used" class="num">{{ r.own }}</td>
        <td data-label="Self-sufficient" class="num"><b>{{ r.with }}</b></td><td data-label="without the bus" class="num">{{ r.without }}</td>
        <td data-label="Earned" class="num">{{ r.earned }}</td><td data-label="Paid" class="num">{{ r.paid }}</td></tr></tbody>
    </table>
  </section>`,
  props: { state: Object, root: String },
};
