// Deals: the running ones with their progress, then those of the recent past.
export default {
  template: `
  <section class="apis-card">
    <h2>Running deals <span class="count">{{ state.running.length }}</span></h2>
    <p v-show="!state.running.length" class="empty">None now. Units that are long or short of energy ask the others; a deal appears here as soon as two agree.</p>
    <div class="apis-deals">
      <article v-for="d in state.running" :key="d.id" class="apis-deal">
        <div class="ends"><b>{{ d.giver }}</b><span aria-label="gives to">→</span><b>{{ d.taker }}</b><span class="state">{{ d.state }}</span></div>
        <div class="bar" role="progressbar" :aria-valuenow="Math.round(100 * d.ratio)" aria-valuemin="0" aria-valuemax="100"
             :aria-label="'Deal from ' + d.giver + ' to ' + d.taker"><i :style="{width: 100 * d.ratio + '%'}"></i></div>
        <div class="facts"><span><b>{{ d.moved }}</b> of {{ d.agreed }} ({{ d.percent }})</span><span>{{ d.current }}</span>
          <span>{{ d.price }}</span><span>for {{ d.ran }}</span></div>
      </article>
    </div>
    <h2>Past deals <span class="count">{{ state.past.length }}</span></h2>
    <p v-show="!state.past.length" class="empty">None yet.</p>
    <div class="apis-scroll">
    <table class="apis-table past" v-show="state.past.length">
      <thead><tr><th>Began</th><th>Deal</th><th>End</th><th class="num">Agreed</th><th class="num">Moved</th><th class="num">Sent</th>
        <th class="num">Received</th><th class="num">Current</th><th class="num">Price</th><th class="num">Lasted</th></tr></thead>
      <tbody>
        <tr v-for="d in state.past" :key="d.id">
          <td data-label="Began">{{ d.began }}</td>
          <th scope="row">{{ d.giver }} → {{ d.taker }}</th>
          <td data-label="End"><span class="chip" :class="d.completed ? 'good' : 'bad'">{{ d.completed ? '✓' : '⚠' }} {{ d.state }}</span>
            <small>{{ d.reason }}</small></td>
          <td data-label="Agreed" class="num">{{ d.agreed }}</td>
          <td data-label="Moved" class="num">{{ d.moved }}</td>
          <td data-label="Sent" class="num">{{ d.sent }}</td>
          <td data-label="Received" class="num">{{ d.received }}</td>
          <td data-label="Current" class="num">{{ d.current }}</td>
          <td data-label="Price" class="num">{{ d.price }}</td>
          <td data-label="Lasted" class="num">{{ d.ran }}</td>
        </tr>
      </tbody>
    </table>
    </div>
  </section>`,
  props: { state: Object },
};
