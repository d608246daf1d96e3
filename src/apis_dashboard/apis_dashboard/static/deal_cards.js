// Running deals with their progress.
export default {
  template: `
  <section class="apis-card">
    <h2>Running deals <span class="count">{{ state.deals.length }}</span></h2>
    <p v-if="!state.deals.length" class="empty">None now. Units that are long or short of energy ask the others; a deal appears here as soon as two agree.</p>
    <div class="apis-deals">
      <article v-for="d in state.deals.slice(0, state.most || 100)" :key="d.id" class="apis-deal">
        <div class="ends"><a :href="root + '/unit/' + d.giver">{{ d.giver }}</a><span aria-label="gives to">→</span><a :href="root + '/unit/' + d.taker">{{ d.taker }}</a><span class="state">{{ d.state }}</span></div>
        <div class="bar" role="progressbar" :aria-valuenow="Math.round(100 * d.ratio)" aria-valuemin="0" aria-valuemax="100"
             :aria-label="'Deal from ' + d.giver + ' to ' + d.taker"><i :style="{width: 100 * d.ratio + '%'}"></i></div>
        <div class="facts"><span><b>{{ d.moved }}</b> of {{ d.agreed }} ({{ d.percent }})</span><span>{{ d.current }}</span><span v-if="d.price !== '–'">{{ d.price }}</span>
          <span v-if="d.ran !== '–'">for {{ d.ran }}</span><span v-if="d.left">{{ d.left }}</span><span v-if="d.reference">⚓ {{ d.reference }}</span></div>
      </article>
    </div>
    <p v-if="state.most && state.deals.length > state.most" class="note"><a :href="root + '/deals'">All {{ state.deals.length }} running deals</a></p>
  </section>`,
  props: { state: Object, root: String },
};
