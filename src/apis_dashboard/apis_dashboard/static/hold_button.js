// On only while it is held: by mouse, finger, or the space bar. Losing the page counts as letting go.
export default {
  template: `
  <button type="button" class="apis-hold" :class="{held}" :disabled="!state.enabled" :aria-pressed="held"
    @pointerdown.prevent="press" @pointerup="release" @pointercancel="release" @pointerleave="release" @contextmenu.prevent
    @keydown.space.prevent="press" @keyup.space="release" @blur="release">{{ held ? 'Held: let go to stop' : state.words }}</button>`,
  props: { state: Object, root: String },
  emits: ['press', 'held', 'release'],
  data: () => ({ held: false }),
  mounted() {
    this.lost = () => document.hidden && this.release();
    document.addEventListener('visibilitychange', this.lost);
    addEventListener('pagehide', this.release);
  },
  unmounted() {
    this.release();
    document.removeEventListener('visibilitychange', this.lost);
    removeEventListener('pagehide', this.release);
  },
  methods: {
    press() {
      if (this.held || !this.state.enabled) return;
      this.held = true;
      this.$emit('press');
      this.timer = setInterval(() => this.$emit('held'), 250);
    },
    release() {
      if (!this.held) return;
      this.held = false;
      clearInterval(this.timer);
      this.$emit('release');
    },
  },
};
