// Orders: what was asked, by whom, and how far it is. Below, everything that was ever written down.
export default {
  template: `
  <div class="apis-orders">
    <section class="apis-card">
      <h2>Orders <span class="count">{{ state.orders.length }}</span></h2>
      <p v-if="!state.orders.length" class="empty">None since the dashboard started.</p>
      <ul><li v-for="o in state.orders" :key="o.number" :class="o.state">
        <span class="chip" :class="{good: o.state === 'done', bad: o.state === 'refused', info: o.state === 'pending'}">{{ o.state === 'done' ? '✓' : o.state === 'refused' ? '✗' : '…' }} {{ o.state }}</span>
        <span><b>{{ o.what }}</b> <small>{{ o.text }} · {{ o.who }}, {{ o.at }}</small></span></li></ul>
    </section>
    <section class="apis-card">
      <h2>Audit log</h2>
      <p v-if="!state.audit.length" class="empty">Empty.</p>
      <div class="apis-scroll" tabindex="0" role="region" aria-label="Audit log" v-else>
      <table class="apis-plain"><thead><tr><th>When (UTC)</th><th>Who</th><th>What</th><th>Outcome</th></tr></thead>
        <tbody><tr v-for="(a, i) in state.audit" :key="i"><td class="when">{{ a.when }}</td><td>{{ a.who }}</td><td>{{ a.what }}</td><td>{{ a.outcome }}</td></tr></tbody></table>
      </div>
    </section>
  </div>`,
  props: { state: Object, root: String },
};
