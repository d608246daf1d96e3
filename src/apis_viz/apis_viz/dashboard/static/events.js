// Faults, and what else is worth knowing; the newest first.
export default {
  template: `
  <section class="apis-card">
    <h2>Faults and events</h2>
    <p v-show="!state.events.length" class="empty">Nothing has gone wrong so far.</p>
    <ul class="apis-events apis-scroll">
      <li v-for="(e, i) in state.events" :key="state.events.length - i">
        <time>{{ e.time }}</time>
        <span class="chip" :class="{bad: e.level !== 'info', info: e.level === 'info'}">{{ e.level === 'info' ? 'ℹ' : '⚠' }} {{ e.level }}</span>
        <span class="what"><b>{{ e.unit }}</b> {{ e.text }} <small v-show="e.code">{{ e.code }}{{ e.present ? ', not over yet' : '' }}</small></span>
      </li>
    </ul>
  </section>`,
  props: { state: Object },
};
