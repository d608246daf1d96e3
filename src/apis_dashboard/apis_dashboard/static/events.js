// Faults, and what else is worth knowing; what is not over yet stands in front.
export default {
  template: `
  <section class="apis-card">
    <h2>Faults and events</h2>
    <p v-if="!state.events.length" class="empty">Nothing has gone wrong so far.</p>
    <div class="apis-scroll" tabindex="0" role="region" aria-label="Faults and events" v-else>
    <ul class="apis-events">
      <li v-for="(e, i) in sorted" :key="i" :class="{present: e.present}">
        <time><small>{{ e.day }}</small> {{ e.time }}</time>
        <span class="chip" :class="{bad: e.level !== 'info', info: e.level === 'info'}">{{ e.level === 'info' ? 'ℹ' : '⚠' }} {{ e.level }}</span>
        <span class="what"><a v-if="e.unit" :href="root + '/unit/' + e.unit">{{ e.unit }}</a> {{ e.text }} <small v-if="e.code">{{ e.code }}{{ e.present ? ', not over yet' : '' }} · what follows: {{ e.follows }}</small></span>
      </li>
    </ul>
    </div>
  </section>`,
  props: { state: Object, root: String },
  computed: {
    sorted() {
      return [...this.state.events].sort((a, b) => Number(b.present) - Number(a.present));
    },
  },
};
